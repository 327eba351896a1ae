//! Who stands before us.

use bytes::Bytes;
use etcd_lock_core::kv::KeyValue;
use etcd_lock_core::{ResponseHeader, Result, Revision};

use super::successors::Place;
use super::{Successors, Vouched};
use crate::watches::News;

/// The entries before ours, as of one revision.
#[derive(Debug)]
pub(crate) struct Line {
    /// The reply that told of it.
    pub(crate) header: ResponseHeader,
    /// Key and create revision, the nearest first.
    pub(crate) ahead: Vec<(Bytes, Revision)>,
    /// Whether nobody stands before those.
    pub(crate) complete: bool,
    /// Whether nobody stands between those and us.
    pub(crate) adjacent: bool,
}

impl Line {
    /// The line as far as one key tells that was read with the put of our own entry: `None` where it isn't there.
    pub(crate) fn behind(header: ResponseHeader, key: &Bytes, kvs: &[KeyValue]) -> Option<Self> {
        let kv = kvs.first().filter(|kv| kv.key == *key)?;
        Some(Self {
            header,
            ahead: vec![(kv.key.clone(), kv.create_revision)],
            complete: false,
            adjacent: false,
        })
    }

    /// Right behind one entry, as of when that was made: whether it is there still is for the watches or a read to say.
    pub(crate) fn right_behind(key: Bytes, created: Revision) -> Self {
        let mut header = ResponseHeader::default();
        header.revision = created;
        Self {
            header,
            ahead: vec![(key, created)],
            complete: false,
            adjacent: true,
        }
    }

    /// Nobody stands there.
    pub(crate) const fn empty(header: ResponseHeader) -> Self {
        Self {
            header,
            ahead: Vec::new(),
            complete: true,
            adjacent: true,
        }
    }

    /// In a long line, who stands right before us.
    pub(crate) fn neighbour(&self) -> Option<&Bytes> {
        let (key, _) = self.ahead.first().filter(|_| !self.complete)?;
        Some(key)
    }

    /// What the news of our own key and of those before us say, or nothing as long as somebody stands there.
    pub(crate) fn turn(
        &self,
        place: Place,
        own: News,
        ahead: impl Iterator<Item = News>,
        vouched: Vouched,
    ) -> Result<Option<Turn>> {
        let is_covered = |news: &News| {
            news.since
                .is_some_and(|since| since <= self.header.revision)
        };
        // A deletion of our own key is sure to be seen only if its watch began before the line was read.
        let mut blind = own.since.is_some() && !is_covered(&own);
        // Only of an up to date watch is silence a sign that our own entry stands.
        let stands = is_covered(&own) && own.proven;
        let mut passed_on = self.complete;
        let mut last = self.header;
        let mut successors = Successors::default();
        let mut before = None;
        let (mut there, mut going) = (0, 0);
        own.error.map_or(Ok(()), Err)?;
        for ((_, created), news) in self.ahead.iter().zip(ahead) {
            let gone = news.deleted > *created;
            let over = gone || vouched == Vouched::BySession && news.over == *created;
            // The end of a hold of this process shows that nobody stood before it.
            passed_on |= over && self.adjacent && news.granted == *created;
            if let Some((of, behind)) = &news.left
                && gone
                && of == created
            {
                // Written by who knew that it was its turn.
                passed_on |= self.adjacent;
                if let Some(after) = behind.after(place) {
                    passed_on = true;
                    successors = after;
                }
                before = behind.before(place);
            }
            there += usize::from(!over);
            going += usize::from(over && !gone);
            blind |= !gone && news.since.is_some() && !is_covered(&news);
            if gone && news.header.revision > last.revision {
                last = news.header;
            }
            news.error.map_or(Ok(()), Err)?;
        }
        Ok(match (there, going) {
            (0, 0) if passed_on && stands => Some(Turn::Ours(last, successors)),
            (0, 0)
                if !self.complete
                    && let Some(place) = before =>
            {
                Some(Turn::Behind(place))
            }
            (0, 0) => Some(Turn::Near),
            // Whether our own entry stands is then the session's to know, as it is for a holder.
            (0, _) if passed_on => Some(Turn::Ours(last, successors)),
            _ => blind.then_some(Turn::Far),
        })
    }

    /// Nobody stands before us: the lock is ours.
    pub(crate) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.complete
    }
}

/// What the events of a line say.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// Everybody before us is gone: what told of the last of them, and who comes after us, as far as it is known.
    Ours(ResponseHeader, Successors),
    /// The one that was watched is gone, and this one stands right before us.
    Behind(Place),
    /// Those that were watched are gone, and the line has to be read to know of others.
    Near,
    /// The events may not tell all: the line has to be read again.
    Far,
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::LeaseId;

    use super::*;

    fn revision(number: i64) -> Revision {
        Revision::new(number).unwrap()
    }

    fn place(lease: i64, created: i64) -> Place {
        Place {
            lease: LeaseId::new(lease).unwrap(),
            created: revision(created),
        }
    }

    /// A line behind one entry of revision 5, as of revision 10.
    fn behind_one(complete: bool, adjacent: bool) -> Line {
        let mut header = ResponseHeader::default();
        header.revision = revision(10);
        Line {
            header,
            ahead: vec![(Bytes::from("a/8"), revision(5))],
            complete,
            adjacent,
        }
    }

    /// A watch that is up to date.
    fn quiet() -> News {
        News {
            since: Some(revision(1)),
            proven: true,
            ..News::default()
        }
    }

    /// What this line says of an own entry that stands.
    fn turn(line: &Line, ahead: News, vouched: Vouched) -> Option<Turn> {
        line.turn(place(9, 9), quiet(), [ahead].into_iter(), vouched)
            .unwrap()
    }

    #[test]
    fn somebody_there_is_waited_for() {
        let line = behind_one(true, true);
        assert_eq!(turn(&line, quiet(), Vouched::BySession), None);
        let before = News {
            deleted: revision(4),
            over: revision(4),
            ..quiet()
        };
        assert_eq!(turn(&line, before, Vouched::BySession), None);
    }

    #[test]
    fn a_deletion_is_a_grant_if_nobody_else_can_be_there() {
        let mut header = ResponseHeader::default();
        header.revision = revision(12);
        let gone = News {
            deleted: revision(12),
            header,
            ..quiet()
        };
        let held = News {
            granted: revision(5),
            ..gone.clone()
        };
        let ours = Some(Turn::Ours(header, Successors::default()));
        let by_nobody = Vouched::ByNobody;
        assert_eq!(turn(&behind_one(true, true), gone.clone(), by_nobody), ours);
        assert_eq!(
            turn(&behind_one(false, true), gone, by_nobody),
            Some(Turn::Near)
        );
        assert_eq!(
            turn(&behind_one(false, true), held.clone(), by_nobody),
            ours
        );
        assert_eq!(
            turn(&behind_one(false, false), held, by_nobody),
            Some(Turn::Near)
        );
    }

    #[test]
    fn an_entry_that_went_says_whose_turn_it_is() {
        let said = |of: i64, behind: &[Place]| News {
            deleted: revision(12),
            left: Some((revision(of), Successors::from(behind))),
            ..quiet()
        };
        let (us, next, other) = (place(9, 9), place(10, 10), place(7, 7));
        let line = behind_one(false, false);
        let turn = |news| turn(&line, news, Vouched::ByNobody);
        let ours = |behind: &[Place]| Some(Turn::Ours(line.header, Successors::from(behind)));
        assert_eq!(turn(said(5, &[us, next])), ours(&[next]));
        assert_eq!(turn(said(5, &[us])), ours(&[]));
        assert_eq!(turn(said(5, &[other, us])), Some(Turn::Behind(other)));
        assert_eq!(turn(said(5, &[next])), Some(Turn::Near));
        assert_eq!(turn(said(5, &[place(9, 8)])), Some(Turn::Near));
        assert_eq!(
            turn(said(4, &[us])),
            Some(Turn::Near),
            "of an earlier entry"
        );
    }

    #[test]
    fn behind_who_had_its_turn_nobody_else_can_be_before_us() {
        let said = News {
            deleted: revision(12),
            left: Some((revision(5), Successors::default())),
            ..quiet()
        };
        for (adjacent, is_ours) in [(true, true), (false, false)] {
            let turn = turn(
                &behind_one(false, adjacent),
                said.clone(),
                Vouched::ByNobody,
            );
            assert_eq!(matches!(turn, Some(Turn::Ours(..))), is_ours);
        }
    }

    #[test]
    fn without_news_of_our_own_key_a_deletion_is_no_grant() {
        let line = behind_one(true, true);
        let gone = News {
            deleted: revision(12),
            ..quiet()
        };
        let unproven = News {
            proven: false,
            ..quiet()
        };
        let late = News {
            since: Some(revision(11)),
            ..quiet()
        };
        for own in [unproven, late, News::default()] {
            let ahead = [gone.clone()].into_iter();
            let turn = line
                .turn(place(9, 9), own, ahead, Vouched::BySession)
                .unwrap();
            assert_eq!(turn, Some(Turn::Near));
        }
    }

    #[test]
    fn a_watch_that_began_after_the_line_was_read_may_have_missed_something() {
        let late = News {
            since: Some(revision(11)),
            ..quiet()
        };
        let line = behind_one(true, true);
        assert_eq!(
            turn(&line, late.clone(), Vouched::BySession),
            Some(Turn::Far)
        );
        let ahead = [quiet()].into_iter();
        let own = line
            .turn(place(9, 9), late, ahead, Vouched::BySession)
            .unwrap();
        assert_eq!(own, Some(Turn::Far));
    }

    #[test]
    fn the_end_of_a_local_hold_is_a_grant_to_a_session() {
        let over = News {
            granted: revision(5),
            over: revision(5),
            ..quiet()
        };
        let header = behind_one(true, true).header;
        let by_session = Vouched::BySession;
        for (complete, adjacent, expected) in [
            (true, true, Some(Turn::Ours(header, Successors::default()))),
            (false, true, Some(Turn::Ours(header, Successors::default()))),
            (false, false, None),
        ] {
            let line = behind_one(complete, adjacent);
            assert_eq!(turn(&line, over.clone(), by_session), expected);
            assert_eq!(turn(&line, over.clone(), Vouched::ByNobody), None);
        }
    }

    #[test]
    fn one_key_tells_nothing_of_the_others() {
        let key = Bytes::from("a/8");
        let kvs = [KeyValue::new("a/8", "")];
        let line = Line::behind(ResponseHeader::default(), &key, &kvs).unwrap();
        assert!(!line.is_empty() && !line.complete && !line.adjacent);
        assert!(Line::behind(ResponseHeader::default(), &key, &[]).is_none());
    }
}
