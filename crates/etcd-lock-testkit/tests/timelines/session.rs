//! A session that etcd stops answering, and the next client.

use std::time::Duration;

use etcd_lock_testkit::history::{Fact, Micros};
use expect_test::expect_file;
use tokio::time::{Instant, sleep};

use crate::drawing::{Bar, Mark, Timeline};
use crate::link::Renewal;
use crate::run::Run;
use crate::stage::Stage;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn picture_of_a_session_is_that_of_a_run() {
    let begun = Instant::now();
    let stage = Stage::new(Duration::from_millis(100));
    let first = stage.process(1, TTL).await;
    let second = stage.process(2, TTL).await;
    sleep(Duration::from_millis(800)).await;
    let guard = first.lock().await;
    let waiting = async {
        sleep(Duration::from_secs(4)).await;
        second.hold(Duration::from_secs(4)).await;
    };
    let silence = async {
        sleep(Duration::from_millis(7_500)).await;
        stage.silence(&first);
    };
    let given_up = async {
        first.session.lost().await;
        Instant::now()
    };
    let ((), (), _, given_up) = tokio::join!(waiting, silence, guard.lost(), given_up);
    let renewals = first.link.renewals();
    let run = stage.end().await;
    let picture = Picture {
        run,
        renewals,
        given_up,
        begun,
    };
    expect_file!["../../../../docs/pictures/session.svg"].assert_eq(&picture.draw());
}

struct Picture {
    run: Run,
    renewals: Vec<Renewal>,
    /// When the session is lost.
    given_up: Instant,
    begun: Instant,
}

impl Picture {
    fn draw(&self) -> String {
        let turns = self.run.turns();
        let [first, second] = &turns[..] else {
            panic!("two grants: {turns:?}");
        };
        let (lost, deleted) = (first.ended.unwrap(), self.run.life(&first.entry).deleted);
        assert!(lost < deleted.at && deleted.at < second.granted);

        let end = second.ended.unwrap();
        let title = "A session that etcd stops answering";
        let mut picture = Timeline::new(title, 0, end);
        let row = picture.row("client 1");
        picture.bar(row, Bar::Waiting, [first.asked, first.granted], "waiting");
        picture.bar(row, Bar::Holding, [first.granted, lost], "holding");
        for renewal in self.renewals.iter().filter(|it| self.at(it.sent) < lost) {
            let (mark, text) = match renewal.answered {
                Some(_) => (Mark::Done, "renewal"),
                None => (Mark::Unanswered, "renewal, no answer"),
            };
            picture.mark(row, mark, self.at(renewal.sent), text);
        }
        picture.mark(row, Mark::Refused, lost, "the guard says: lost");

        let last = self
            .renewals
            .iter()
            .rfind(|it| it.answered.is_some())
            .unwrap();
        let (sent, executed) = (self.at(last.sent), self.at(last.executed.unwrap()));
        let (_, ttl) = self.run.find(|fact| match fact {
            Fact::Leased { ttl, .. } => Some(*ttl),
            _ => None,
        });
        let row = picture.row("as client 1 counts");
        assert_eq!(deleted.at - executed, ttl, "nothing was renewed since");
        let given_up = self.at(self.given_up);
        let tenths = (given_up - sent) * 10 / ttl;
        let text = format!("the lease lasts {tenths}/10 of the TTL");
        picture.bar(row, Bar::Lasting, [sent, given_up], text);

        let row = picture.row("as etcd counts");
        picture.bar(
            row,
            Bar::Lasting,
            [executed, deleted.at],
            "the lease lasts the whole TTL",
        );
        let text = "the lease ends";
        picture.mark(row, Mark::Done, deleted.at, text);

        let next = picture.row("client 2");
        picture.bar(
            next,
            Bar::Waiting,
            [second.asked, second.granted],
            "waiting",
        );
        picture.bar(next, Bar::Holding, [second.granted, end], "holding");
        picture.arrow((row, deleted.at), (next, second.granted));
        picture.svg()
    }

    fn at(&self, instant: Instant) -> Micros {
        let since = instant.duration_since(self.begun);
        Micros::try_from(since.as_micros()).unwrap()
    }
}
