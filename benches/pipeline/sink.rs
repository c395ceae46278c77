//! A server that speaks MongoDB's wire protocol, answers at once, and keeps nothing but `pipeline_state`.
//!
//! It shows what our side can feed: whatever is slower than this with a real server is the server. The protocol is that of
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>, one OP_MSG after another.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Bson, Document, RawDocument, doc};

const OP_MSG: i32 = 2013;
/// Of a message: its length, its number, whose answer it is, and what it is.
const HEADER: usize = 16;
/// As much as a real server takes.
const MESSAGE_MAX: i32 = 48_000_000;

/// What came.
#[derive(Default)]
pub struct Seen {
    /// Documents of `raw_data`.
    pub raw: usize,
    /// Documents of the views that were written or deleted.
    pub views: usize,
    /// When transactions were committed.
    pub commits: Vec<Instant>,
    /// The last revenue of `sales_all`.
    pub revenue: String,
    state: HashMap<String, Document>,
}

/// The server. It ends with the process.
pub struct Sink {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Sink {
    pub fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (connection, shared) = (connection.expect("a connection"), Arc::clone(&shared));
                std::thread::spawn(move || serve(&connection, &shared));
            }
        });
        Sink { address, seen }
    }

    pub fn uri(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.address)
    }

    /// What came so far; nothing has come after that.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Answers until the client hangs up.
fn serve(connection: &TcpStream, seen: &Mutex<Seen>) {
    connection.set_nodelay(true).expect("a socket");
    let (mut reader, mut writer) = (BufReader::with_capacity(1 << 20, connection), connection);
    let (mut header, mut body) = ([0; HEADER], Vec::new());
    while reader.read_exact(&mut header).is_ok() {
        let number = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (length, request, operation) = (number(0), number(4), number(12));
        assert!(operation == OP_MSG && length <= MESSAGE_MAX, "the operation {operation} of {length} bytes");
        body.resize(length as usize - HEADER, 0);
        reader.read_exact(&mut body).expect("a whole message");
        let reply = answer(&Command::of(&body), &mut seen.lock().unwrap()).to_vec().expect("a reply");
        let mut message = Vec::with_capacity(HEADER + 5 + reply.len());
        for part in [(HEADER + 5 + reply.len()) as i32, 0, request, OP_MSG, 0] {
            message.extend(part.to_le_bytes());
        }
        message.push(0);
        message.extend(reply);
        if writer.write_all(&message).is_err() {
            return;
        }
    }
}

/// The sections of a message: a document, and perhaps a list of the command beside it.
struct Command<'a> {
    document: &'a RawDocument,
    list: Vec<&'a RawDocument>,
}

impl<'a> Command<'a> {
    /// Of what follows the header: flags, and sections. The driver sends no checksum.
    fn of(body: &'a [u8]) -> Command<'a> {
        let length = |bytes: &[u8]| i32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
        let (flags, mut rest) = body.split_at(4);
        assert_eq!(flags[0] & 1, 0, "a checksum");
        let (mut document, mut list) = (None, Vec::new());
        while let [kind, section @ ..] = rest {
            let (section, more) = section.split_at(length(section));
            if *kind == 0 {
                document = Some(RawDocument::from_bytes(section).expect("a document"));
            } else {
                let name = section[4..].iter().position(|byte| *byte == 0).expect("a name");
                let mut documents = &section[4 + name + 1..];
                while !documents.is_empty() {
                    let (first, others) = documents.split_at(length(documents));
                    list.push(RawDocument::from_bytes(first).expect("a document"));
                    documents = others;
                }
            }
            rest = more;
        }
        Command { document: document.expect("a command"), list }
    }

    /// The documents of its list, wherever it is.
    fn list(&self, name: &str) -> Vec<&'a RawDocument> {
        let within = self.document.get_array(name).into_iter().flatten();
        within.map(|it| it.ok().and_then(|it| it.as_document()).expect("a document")).chain(self.list.clone()).collect()
    }
}

fn answer(command: &Command<'_>, seen: &mut Seen) -> Document {
    let (name, of) = command.document.iter().next().expect("a command").expect("its name");
    let collection = of.as_str().unwrap_or_default();
    match (name.as_str(), collection) {
        ("hello" | "isMaster" | "ismaster", _) => doc! {
            "ok": 1, "isWritablePrimary": true, "ismaster": true, "helloOk": true, "setName": "sink", "setVersion": 1,
            "minWireVersion": 0, "maxWireVersion": 21, "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": MESSAGE_MAX, "maxWriteBatchSize": 100_000, "logicalSessionTimeoutMinutes": 30,
        },
        ("insert", "raw_data") => {
            let count = command.list("documents").len();
            seen.raw += count;
            doc! { "ok": 1, "n": count as i32 }
        }
        ("find", "pipeline_state") => {
            let filter = command.document.get_document("filter").expect("a filter");
            let found = seen.state.get(filter.get_str("_id").expect("an _id"));
            let found: Vec<Bson> = found.cloned().map(Bson::Document).into_iter().collect();
            doc! { "ok": 1, "cursor": { "id": 0_i64, "ns": "sink.pipeline_state", "firstBatch": found } }
        }
        ("find", other) => doc! { "ok": 1, "cursor": { "id": 0_i64, "ns": format!("sink.{other}"), "firstBatch": [] } },
        ("insert" | "update" | "findAndModify", "pipeline_state") => {
            let value = keep(command, &mut seen.state);
            doc! { "ok": 1, "n": 1, "nModified": 1, "value": value, "lastErrorObject": { "n": 1, "updatedExisting": true } }
        }
        ("update", _) => {
            let updates = command.list("updates");
            for update in &updates {
                if let Ok("metric|sales_all") = update.get_document("q").and_then(|filter| filter.get_str("_id")) {
                    let all = update.get_document("u").expect("a document");
                    let Ok(Some(RawBsonRef::Decimal128(revenue))) = all.get("revenue") else { panic!("no revenue") };
                    seen.revenue = revenue.to_string();
                }
            }
            seen.views += updates.len();
            doc! { "ok": 1, "n": updates.len() as i32 }
        }
        ("delete", _) => {
            let count = command.list("deletes").len();
            seen.views += count;
            doc! { "ok": 1, "n": count as i32 }
        }
        ("commitTransaction", _) => {
            seen.commits.push(Instant::now());
            doc! { "ok": 1 }
        }
        _ => doc! { "ok": 1 },
    }
}

/// Keeps what a command says of `pipeline_state`; the document as it is then.
fn keep(command: &Command<'_>, state: &mut HashMap<String, Document>) -> Bson {
    let part = |of: &RawDocument, name: &str| Some(Document::try_from(of.get_document(name).ok()?).expect("BSON"));
    let inserted = command.list("documents").into_iter().map(|it| Document::try_from(it).expect("BSON"));
    let inserted = inserted.map(|it| (Some(it.clone()), Some(it)));
    let updated = command.list("updates").into_iter().map(|it| (part(it, "q"), part(it, "u")));
    let modified = [(part(command.document, "query"), part(command.document, "update"))];
    let mut last = Bson::Null;
    // A list beside the command is of one of the two; what is not there has no filter.
    for (filter, change) in inserted.chain(updated).chain(modified) {
        let Some(id) = filter.as_ref().and_then(|filter| filter.get_str("_id").ok()).map(String::from) else {
            continue;
        };
        let change = change.expect("a change");
        let document = state.entry(id.clone()).or_insert_with(|| doc! { "_id": &id });
        match change.get_document("$set") {
            Ok(fields) => document.extend(fields.clone()),
            Err(_) => {
                *document = change;
                document.insert("_id", id);
            }
        }
        last = Bson::Document(document.clone());
    }
    last
}
