//! Three processes want one lock.

use std::time::Duration;

use expect_test::expect_file;
use tokio::time::sleep;

use crate::drawing::{Bar, Mark, Timeline};
use crate::run::Run;
use crate::stage::Stage;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn picture_of_the_queue_is_that_of_a_run() {
    let stage = Stage::new(Duration::from_millis(20));
    let first = stage.process(1, TTL).await;
    let second = stage.process(2, TTL).await;
    let third = stage.process(3, TTL).await;
    tokio::join!(
        first.hold(Duration::from_millis(300)),
        async {
            sleep(Duration::from_millis(80)).await;
            second.hold(Duration::from_millis(220)).await;
        },
        async {
            sleep(Duration::from_millis(160)).await;
            third.hold(Duration::from_millis(160)).await;
        },
    );
    let run = stage.end().await;
    expect_file!["../../../../docs/pictures/queue.svg"].assert_eq(&picture(&run));
}

fn picture(run: &Run) -> String {
    let turns = run.turns();
    let lives: Vec<_> = turns.iter().map(|turn| run.life(&turn.entry)).collect();
    let end = lives.iter().map(|life| life.deleted.at).max().unwrap();
    let begin = turns[0].asked;
    let title = "A queue of three clients";
    let mut picture = Timeline::new(title, begin, end + (end - begin) / 5);
    for (turn, life) in turns.iter().zip(&lives) {
        let row = picture.row(format!("client {}", turn.process));
        picture.bar(row, Bar::Waiting, [turn.asked, turn.granted], "waiting");
        let held = [turn.granted, turn.ended.unwrap()];
        picture.bar(row, Bar::Holding, held, "holding");
        let (created, deleted) = (life.created, life.deleted);
        let text = format!("entry, revision {}", created.revision);
        picture.mark(row, Mark::Done, created.at, text);
        let text = format!("deleted, revision {}", deleted.revision);
        picture.mark(row, Mark::Done, deleted.at, text);
    }
    for (row, (life, next)) in lives.iter().zip(&turns[1..]).enumerate() {
        assert!(
            life.deleted.at < next.granted,
            "no grant precedes the deletion"
        );
        picture.arrow((row, life.deleted.at), (row + 1, next.granted));
    }
    picture.svg()
}
