//! Tasks of one session hand a lock over in memory, and another client waits.

use std::time::Duration;

use expect_test::expect_file;
use tokio::time::sleep;

use crate::drawing::{Bar, Mark, Timeline};
use crate::run::Run;
use crate::stage::Stage;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn picture_of_hand_overs_is_that_of_a_run() {
    let stage = Stage::new(Duration::from_millis(20));
    let one = stage.process(1, TTL).await;
    let other = stage.process(2, TTL).await;
    let later = |pause| sleep(Duration::from_millis(pause));
    tokio::join!(
        one.hold(Duration::from_millis(200)),
        async {
            later(60).await;
            one.hold(Duration::from_millis(200)).await;
        },
        async {
            later(100).await;
            one.hold(Duration::from_millis(200)).await;
        },
        async {
            later(140).await;
            other.hold(Duration::from_millis(220)).await;
        },
    );
    let run = stage.end().await;
    expect_file!["../../../../docs/pictures/hand-over.svg"].assert_eq(&picture(&run));
}

fn picture(run: &Run) -> String {
    let turns = run.turns();
    let [tasks @ .., other] = &turns[..] else {
        panic!("nobody was granted the lock");
    };
    let last = &tasks[tasks.len() - 1];
    assert!(
        tasks.iter().all(|task| task.entry == last.entry),
        "one entry"
    );
    let life = run.life(&last.entry);

    let (begin, end) = (tasks[0].asked, other.ended.unwrap());
    let title = "Three tasks of a session hand a lock over";
    let mut picture = Timeline::new(title, begin, end);
    for (row, task) in tasks.iter().enumerate() {
        picture.row(format!("client {}, task {}", task.process, row + 1));
        picture.bar(row, Bar::Waiting, [task.asked, task.granted], "waiting");
        let text = format!("holding, token {}", task.token);
        picture.bar(row, Bar::Holding, [task.granted, task.ended.unwrap()], text);
    }
    for (row, pair) in tasks.windows(2).enumerate() {
        assert_eq!(pair[0].ended, Some(pair[1].granted), "it takes no time");
        picture.arrow((row, pair[1].granted), (row + 1, pair[1].granted));
    }

    let row = picture.row(format!("entry of client {}", last.process));
    let (created, deleted) = (life.created, life.deleted);
    picture.bar(
        row,
        Bar::Lasting,
        [created.at, deleted.at],
        "one entry for all of them",
    );
    picture.mark(
        row,
        Mark::Done,
        created.at,
        format!("created, revision {}", created.revision),
    );
    let text = format!("deleted, revision {}", deleted.revision);
    picture.mark(row, Mark::Done, deleted.at, text);
    picture.arrow((row - 1, last.ended.unwrap()), (row, deleted.at));

    let next = picture.row("client 2");
    picture.bar(next, Bar::Waiting, [other.asked, other.granted], "waiting");
    let text = format!("holding, token {}", other.token);
    picture.bar(next, Bar::Holding, [other.granted, end], text);
    picture.arrow((row, deleted.at), (next, other.granted));
    picture.svg()
}
