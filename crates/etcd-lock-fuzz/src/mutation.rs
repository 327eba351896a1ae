//! Inputs that are much like others.

use fastrand::Rng;

/// Numbers and marks at which readers take other ways.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"0",
    b"-1",
    b"+",
    b"/",
    b":",
    b"%",
    b"\n",
    b"9223372036854775807",
    b"18446744073709551616",
    "\u{e4}".as_bytes(),
];

/// One of the inputs, changed in up to four places.
pub(crate) fn mutated(inputs: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = random.choice(inputs).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..=4) {
        mutate(&mut input, inputs, random);
    }
    input
}

fn mutate(input: &mut Vec<u8>, inputs: &[Vec<u8>], random: &mut Rng) {
    let from = random.usize(..=input.len());
    let to = random.usize(from..=input.len()).min(from + 16);
    match random.u8(..6) {
        0 => drop(input.drain(from..to)),
        1 => input.truncate(from),
        2 => input.insert(from, random.u8(..)),
        3 => {
            if let Some(byte) = input.get_mut(from) {
                *byte ^= 1 << random.u8(..8);
            }
        }
        4 => {
            let piece = random.choice(PIECES).copied().unwrap_or_default();
            input.splice(from..to, piece.iter().copied());
        }
        _ => {
            let other = random.choice(inputs).cloned().unwrap_or_default();
            let begin = random.usize(..=other.len());
            input.splice(from..to, other[begin..].iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn seed_makes_the_same_input_again_and_another_seed_another() {
        let inputs = [b"report/1f".to_vec(), b"34.0".to_vec()];
        let of = |seed| mutated(&inputs, &mut Rng::with_seed(seed));
        assert_eq!(of(7), of(7));
        let all: BTreeSet<_> = (0..100).map(of).collect();
        assert!(all.len() > 50, "{}", all.len());
    }
}
