//! Watches.

use etcd_lock_core::watch::{
    Event, EventKind, WatchBody, WatchCreate, WatchRequest, WatchResponse,
};
use etcd_lock_core::{Error, ResponseHeader, Result};

use super::{header, inner_header, odd, revision};
use crate::etcdserverpb as pb;
use crate::mvccpb;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

impl From<WatchRequest> for pb::WatchRequest {
    fn from(request: WatchRequest) -> Self {
        let union = match request {
            WatchRequest::Create(create) => Some(RequestUnion::CreateRequest(create.into())),
            WatchRequest::Cancel(watch_id) => {
                Some(RequestUnion::CancelRequest(pb::WatchCancelRequest {
                    watch_id,
                }))
            }
            WatchRequest::Progress => {
                Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}))
            }
            // The core's types may grow; etcd passes over an empty request.
            _ => None,
        };
        Self {
            request_union: union,
        }
    }
}

impl From<WatchCreate> for pb::WatchCreateRequest {
    fn from(create: WatchCreate) -> Self {
        let put = create.no_put.then_some(FilterType::Noput.into());
        let delete = create.no_delete.then_some(FilterType::Nodelete.into());
        Self {
            key: create.key,
            range_end: create.range_end,
            start_revision: create.start_revision.map_or(0, |at| at.get()),
            filters: put.into_iter().chain(delete).collect(),
            prev_kv: create.prev_kv,
            watch_id: create.id,
            ..Self::default()
        }
    }
}

impl TryFrom<pb::WatchResponse> for WatchResponse {
    type Error = Error;

    fn try_from(reply: pb::WatchResponse) -> Result<Self> {
        let id = reply.watch_id;
        // A watch that is refused is created and cancelled in one reply: what counts is that it has ended.
        if reply.canceled {
            let compacted = reply.compact_revision;
            let compact_revision = if compacted > 0 {
                Some(revision(compacted)?)
            } else {
                None
            };
            let body = WatchBody::Canceled {
                reason: reply.cancel_reason,
                compact_revision,
            };
            let header: ResponseHeader = inner_header(reply.header)?;
            return Ok(Self::new(header, id, body));
        }
        let header = header(reply.header)?;
        if reply.created {
            return Ok(Self::new(header, id, WatchBody::Created));
        }
        let events = reply
            .events
            .into_iter()
            .map(TryFrom::try_from)
            .collect::<Result<_>>()?;
        Ok(Self::new(header, id, WatchBody::Events(events)))
    }
}

impl TryFrom<mvccpb::Event> for Event {
    type Error = Error;

    fn try_from(event: mvccpb::Event) -> Result<Self> {
        let kind = match mvccpb::event::EventType::try_from(event.r#type) {
            Ok(mvccpb::event::EventType::Put) => EventKind::Put,
            Ok(mvccpb::event::EventType::Delete) => EventKind::Delete,
            Err(_) => return Err(odd("an event of an unknown kind")),
        };
        let kv = event
            .kv
            .ok_or_else(|| odd("an event without a key"))?
            .try_into()?;
        Ok(Self::new(
            kind,
            kv,
            event.prev_kv.map(TryFrom::try_from).transpose()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::*;

    #[test]
    fn a_refused_watch_has_ended() {
        let reply = pb::WatchResponse {
            watch_id: -1,
            created: true,
            canceled: true,
            cancel_reason: "no".to_owned(),
            ..pb::WatchResponse::default()
        };
        let body = WatchResponse::try_from(reply).unwrap().body;
        assert_eq!(
            body,
            WatchBody::Canceled {
                reason: "no".to_owned(),
                compact_revision: None
            }
        );
    }

    #[test]
    fn what_no_etcd_says_is_an_error() {
        let header = Some(pb::ResponseHeader::default());
        let unknown = mvccpb::Event {
            r#type: 9,
            ..mvccpb::Event::default()
        };
        for event in [mvccpb::Event::default(), unknown] {
            let reply = pb::WatchResponse {
                header,
                events: vec![event],
                ..Default::default()
            };
            let error = WatchResponse::try_from(reply).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        assert!(WatchResponse::try_from(pb::WatchResponse::default()).is_err());
    }
}
