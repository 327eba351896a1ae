//! Storage outside of etcd that refuses a holder that was overtaken: a table of SQL, and an object store.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_lock::{FencingToken, Mutex, Result, Session};

#[tokio::main]
async fn main() -> Result<()> {
    let client = support::client()?;
    let (mut table, mut store) = (Table::default(), ObjectStore::default());

    let first = Session::open(&client, Duration::from_secs(10)).await?;
    let old = Mutex::new(&first, "stock")?.lock().await?.token();
    // The first holder stands still here, and its lease ends.
    first.close().await?;

    let second = Session::open(&client, Duration::from_secs(10)).await?;
    let guard = Mutex::new(&second, "stock")?.lock().await?;
    let new = guard.token();
    println!("table, {new}: {}", said(table.update(7, new)));
    println!(
        "object, {new}: {}",
        said(write_object(&mut store, "stock", "7", new))
    );

    // The first one goes on, and knows nothing of the second.
    println!("table, {old}: {}", said(table.update(99, old)));
    println!(
        "object, {old}: {}",
        said(write_object(&mut store, "stock", "99", old))
    );
    println!("stock: {} and {}", table.stock, store.read("stock").body);
    guard.unlock().await?;
    second.close().await
}

/// A row of a table, as a database has it.
#[derive(Default)]
struct Table {
    stock: u32,
    token: [u8; 16],
}

impl Table {
    /// `UPDATE items SET stock = $1, token = $2 WHERE id = 'stock' AND token <= $2`, with the token's sixteen bytes in a
    /// column of bytes. Says whether a row was changed.
    fn update(&mut self, stock: u32, token: FencingToken) -> bool {
        let token = token.to_bytes();
        if self.token > token {
            return false;
        }
        (self.stock, self.token) = (stock, token);
        true
    }
}

/// Objects with a version each, which a conditional write compares.
#[derive(Default)]
struct ObjectStore(BTreeMap<String, Object>);

#[derive(Clone, Default)]
struct Object {
    version: u64,
    token: [u8; 16],
    body: String,
}

impl ObjectStore {
    fn read(&self, name: &str) -> Object {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Writes if the version is still this one.
    fn write_if(&mut self, name: &str, version: u64, object: Object) -> bool {
        if self.read(name).version != version {
            return false;
        }
        let version = version + 1;
        self.0.insert(name.to_owned(), Object { version, ..object });
        true
    }
}

/// A store that compares versions only compares tokens as well, if each writer does: the token is a part of the object.
fn write_object(store: &mut ObjectStore, name: &str, body: &str, token: FencingToken) -> bool {
    let (token, body) = (token.to_bytes(), body.to_owned());
    loop {
        let current = store.read(name);
        if current.token > token {
            return false;
        }
        let version = current.version;
        let object = Object {
            version,
            token,
            body: body.clone(),
        };
        if store.write_if(name, version, object) {
            return true;
        }
    }
}

const fn said(written: bool) -> &'static str {
    if written { "written" } else { "refused" }
}
