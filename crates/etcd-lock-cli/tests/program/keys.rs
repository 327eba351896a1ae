//! `etcd-lock lock` and `etcd-lock unlock`: a lock that is held over several commands.

use crate::etcd::Etcd;

crate::tests_on!([served real] {
    a_lock_is_held_until_it_is_unlocked
    an_unlock_leaves_a_shared_lease_alone
});

crate::tests_on!(only served {
    what_is_printed_gives_back_any_lock
    unlocking_again_is_harmless
    a_lease_ends_what_nobody_unlocks
    nothing_is_left_of_what_cant_be_told
    a_wait_longer_than_the_lease_gets_the_lock_for_all_of_its_time
    a_script_holds_a_lock_over_several_commands
    a_lock_that_is_gone_is_not_renewed
});

async fn a_lock_is_held_until_it_is_unlocked(etcd: &Etcd) {
    let printed = etcd
        .end_of(["lock", "keys", "--ttl", "33s"])
        .await
        .with(0)
        .stdout;
    let said = |what: &str| {
        let mut lines = printed.lines();
        let line = lines.find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().to_owned()
    };
    let entry = etcd.queue("keys").await.remove(0);
    assert_eq!(said("key").as_bytes(), entry.key);
    assert_eq!(said("lease"), etcd.leases().await[0].to_string());
    assert_eq!(said("token"), entry.create_revision.to_string());
    assert!(printed.contains("33 s"), "{printed}");

    etcd.end_of(["run", "keys", "--no-wait", "true"])
        .await
        .with(75);
    let waiter = etcd.start(["run", "keys", "echo", "ran"]);
    etcd.queue_has("keys", 2).await;
    etcd.end_of(["unlock", &said("key")]).await.with(0);
    assert_eq!(waiter.end().await.with(0).stdout, "ran\n");
    etcd.nothing_is_left("keys").await;
}

async fn what_is_printed_gives_back_any_lock(etcd: &Etcd) {
    for name in [
        "plain",
        "with a space",
        "a/b/",
        "two\nlines",
        "ключ",
        "\u{1b}[2J",
    ] {
        let printed = etcd
            .end_of(["lock", name, "-o", "json"])
            .await
            .with(0)
            .stdout;
        let held: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(held["name"], name);
        assert_eq!(held["ttl_seconds"], 60);
        let entry = etcd.queue(name).await.remove(0);
        assert_eq!(held["token"], entry.create_revision.get());
        assert_eq!(held["lease"], etcd.leases().await[0].to_string());

        etcd.end_of(["unlock", held["key"].as_str().unwrap()])
            .await
            .with(0);
        etcd.nothing_is_left(name).await;
    }
}

async fn unlocking_again_is_harmless(etcd: &Etcd) {
    let printed = etcd
        .end_of(["lock", "keys", "-o", "json"])
        .await
        .with(0)
        .stdout;
    let held: serde_json::Value = serde_json::from_str(&printed).unwrap();
    for _ in 0..2 {
        etcd.end_of(["unlock", held["key"].as_str().unwrap()])
            .await
            .with(0);
    }
    etcd.nothing_is_left("keys").await;
}

async fn an_unlock_leaves_a_shared_lease_alone(etcd: &Etcd) {
    let client = etcd.client();
    let ttl = std::time::Duration::from_secs(60);
    let lease = etcd_lock::lease::grant(&client, ttl).await.unwrap().id;
    for name in ["one", "two"] {
        etcd_lock::lock_with(&client, name, lease).await.unwrap();
    }
    etcd.end_of(["unlock", &format!("one/{lease}")])
        .await
        .with(0);
    assert_eq!(etcd.queue("one").await, []);
    assert_eq!(etcd.queue("two").await.len(), 1);
    etcd.end_of(["unlock", &format!("two/{lease}")])
        .await
        .with(0);
    etcd.nothing_is_left("two").await;
}

async fn a_lease_ends_what_nobody_unlocks(etcd: &Etcd) {
    etcd.end_of(["lock", "keys", "--ttl", "2s"]).await.with(0);
    assert_eq!(etcd.queue("keys").await.len(), 1);
    etcd.end_of(["run", "keys", "true"]).await.with(0);
    etcd.nothing_is_left("keys").await;
}

/// A lock whose key nobody has seen could not be given back.
async fn nothing_is_left_of_what_cant_be_told(etcd: &Etcd) {
    let mut command = etcd.command(["lock", "keys"]);
    command.stdout(std::fs::File::create("/dev/full").unwrap());
    assert_eq!(command.status().await.unwrap().code(), Some(71));
    etcd.nothing_is_left("keys").await;
}

async fn a_script_holds_a_lock_over_several_commands(etcd: &Etcd) {
    let program = env!("CARGO_BIN_EXE_etcd-lock");
    let script = format!(
        "eval \"$({program} lock \"it's \\$HOME\" --ttl 30s -o env)\" || exit 1
        echo \"$ETCD_LOCK_NAME $ETCD_LOCK_TOKEN\"
        {program} renew -o json && {program} unlock && {program} renew"
    );
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", &script]);
    command.env("ETCD_LOCK_ENDPOINTS", etcd.endpoint());
    let end = crate::program::Program::start(command).end().await.with(79);
    let lines: Vec<_> = end.stdout.lines().collect();
    assert!(lines[0].starts_with("it's $HOME "), "{end:?}");
    assert!(lines[1].ends_with("\"ttl_seconds\":30}"), "{end:?}");
    etcd.nothing_is_left("it's $HOME").await;
}

async fn a_wait_longer_than_the_lease_gets_the_lock_for_all_of_its_time(etcd: &Etcd) {
    let mut holder = etcd.start(["run", "keys", "--", "sh", "-c", "echo held; sleep 5"]);
    assert_eq!(holder.line().await, "held");
    let args = ["lock", "keys", "--ttl", "3s", "-o", "json"];
    let printed = etcd.end_of(args).await.with(0).stdout;
    let held: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(held["ttl_seconds"], 3);
    let key = held["key"].as_str().unwrap();
    etcd.end_of(["renew", key]).await.with(0);
    etcd.end_of(["unlock", key]).await.with(0);
    holder.end().await.with(0);
    etcd.nothing_is_left("keys").await;
}

async fn a_lock_that_is_gone_is_not_renewed(etcd: &Etcd) {
    let client = etcd.client();
    let ttl = std::time::Duration::from_secs(60);
    let lease = etcd_lock::lease::grant(&client, ttl).await.unwrap().id;
    let end = etcd
        .end_of(["renew", &format!("keys/{lease}")])
        .await
        .with(79);
    assert!(end.stderr.contains("is gone"), "{end:?}");
    etcd_lock::lease::revoke(&client, lease).await.unwrap();
    etcd.end_of(["renew", &format!("keys/{lease}")])
        .await
        .with(79);
}
