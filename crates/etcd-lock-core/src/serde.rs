//! With the feature `serde`: leases and fencing tokens as the text that they print, since JSON's numbers are too small for many
//! programs to hold them; revisions and times to live as numbers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{FencingToken, LeaseId, Revision, Ttl};

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

macro_rules! as_number {
    ($type:ty, $get:ident, $new:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.$get().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::$new(i64::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

as_text!(FencingToken);
as_text!(LeaseId);
as_number!(Revision, get, new);
as_number!(Ttl, as_secs, from_secs);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_text_or_number_and_read_again() {
        let token = FencingToken::new(Revision::new(34).unwrap(), 7);
        let lease = LeaseId::new(0x1f).unwrap();
        let all = (
            token,
            lease,
            token.create_revision(),
            Ttl::from_secs(10).unwrap(),
        );
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(json, r#"["34.7","1f",34,10]"#);
        assert_eq!(
            serde_json::from_str::<(FencingToken, LeaseId, Revision, Ttl)>(&json).unwrap(),
            all
        );
    }

    #[test]
    fn value_that_is_out_of_range_is_refused_with_the_reason() {
        let error = serde_json::from_str::<Ttl>("0").unwrap_err();
        assert!(
            error.to_string().contains("the time to live is 0 s"),
            "{error}"
        );
        assert!(serde_json::from_str::<FencingToken>(r#""34""#).is_err());
        assert!(serde_json::from_str::<LeaseId>("31").is_err());
        assert!(serde_json::from_str::<Revision>("-1").is_err());
    }
}
