//! What cannot go on says so: the exit code that scripts look for, one line that says what to do, and no secret.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::program::{Ended, Tillflow, write};
use crate::support::world::{Hostile, Store, Topics, counted};
use crate::support::{SOON, closed_port};

/// Words that are in no output, wherever they are given.
const SECRET: &str = "S3cret-9f2b";

/// How long a service that is not there may be looked for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends with `code`, and one line on standard error that has all of `words`.
#[track_caller]
pub fn refused(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    let errors: Vec<&str> = ended.stderr.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    let [line] = errors[..] else { panic!("not one line: {ended:?}") };
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
    assert!(!ended.output().contains(SECRET), "{ended:?}");
    assert!(ended.took < PATIENCE, "{ended:?}");
}

fn run(flags: &[&str]) -> Ended {
    Tillflow::new(flags.iter().copied()).run(SOON)
}

#[test]
fn a_broker_that_is_not_there() {
    let port = closed_port();
    let store = Store::sqlite();
    for command in ["run --no-dashboard", "run --listen 127.0.0.1:0", "init", "generate --rate 0 --count 5"] {
        let mut broken = Tillflow::new(command.split(' ')).flags(["--bootstrap-servers", &port]);
        if !command.starts_with("generate") {
            broken = broken.flags(store.flags());
        }
        refused(&broken.run(SOON), 3, &[&port, "--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS"]);
    }
}

#[test]
fn a_database_that_is_not_there() {
    let port = closed_port();
    let uri = format!("mongodb://till:{SECRET}@{port}/?authSource=admin");
    for command in ["run --no-dashboard", "init", "verify", "dashboard --listen 127.0.0.1:0"] {
        // Topics are made before the database is looked for.
        let topics = Topics::named("nowhere");
        let mut broken = Tillflow::new(command.split(' ')).flags(["--mongo-uri", &uri, "-v"]);
        if !command.starts_with("dashboard") {
            broken = broken.flags(topics.flags());
        }
        refused(&broken.run(SOON), 3, &[&port, "--mongo-uri", "MONGO_URI"]);
    }
}

#[test]
fn a_topic_that_is_missing() {
    let topics = Topics::named("missing");
    let store = Store::sqlite();
    let ended = store.run(&topics, "").run(SOON);
    let name = format!("{}sales", topics.prefix);
    refused(&ended, 3, &[&name, "tillflow init", "--topic-prefix"]);
    assert_eq!(store.progress(), None);
    let ended = topics.generate_command(1).flags(["--rate", "0", "--count", "5"]).run(SOON);
    refused(&ended, 3, &[&topics.prefix, "tillflow init"]);
}

#[test]
fn what_cannot_be_a_setting() {
    let cases: [(&[&str], &str); 17] = [
        (&["run", "--workers", "0"], "--workers"),
        (&["run", "--workers", "many"], "--workers"),
        (&["run", "--tick-ms", "0"], "--tick-ms"),
        (&["run", "--source", "files:here"], "--source"),
        (&["run", "--store", "postgres"], "--store"),
        (&["run", "--envelope"], "--envelope"),
        (&["run", "--correction-window", "soon"], "--correction-window"),
        (&["run", "--timezone", "Mars/Olympus"], "--timezone"),
        (&["run", "--listen", "8501"], "--listen"),
        (&["run", "--raw-data", "maybe"], "--raw-data"),
        (&["run", "--database", "a.b"], "--database"),
        (&["run", "-X", "auto.offset.reset=latest", "--store", "sqlite:unused.db"], "auto.offset.reset"),
        (&["generate", "--late", "2"], "--late"),
        (&["verify", "--from", "files"], "--from"),
        (&["verify", "--envelope"], "--envelope"),
        (&["run", "--no-such-flag"], "--no-such-flag"),
        (&["conquer"], "conquer"),
    ];
    for (flags, word) in cases {
        let ended = run(flags);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let first = ended.stderr.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: ") && first.contains(word), "{flags:?}: {first}");
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(run(&[]).code, Some(2));
    for flags in [["--help", ""], ["--version", ""], ["run", "--help"], ["completions", "bash"], ["man", ""]] {
        let ended = run(flags.iter().copied().filter(|flag| !flag.is_empty()).collect::<Vec<_>>().as_slice());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{flags:?}");
        assert!(ended.stdout.contains("tillflow"), "{flags:?}: {}", ended.stdout);
    }
}

#[test]
fn settings_come_from_flags_then_the_environment_then_a_file() {
    let folder = |content: &str| {
        let content = content.to_owned();
        move |folder: &std::path::Path| write(&folder.join(".env"), content.as_bytes())
    };
    let [flag, environment, file] = [closed_port(), closed_port(), closed_port()];
    let generate = || Tillflow::new(["generate", "--rate", "0", "--count", "1"]);
    let dotenv = format!("# Kafka\nexport KAFKA_BOOTSTRAP_SERVERS=\"{file}\"\n\n");
    let ended = generate().start_with(folder(&dotenv)).wait(SOON);
    refused(&ended, 3, &[&file]);
    let ended = generate().env("KAFKA_BOOTSTRAP_SERVERS", &environment).start_with(folder(&dotenv)).wait(SOON);
    refused(&ended, 3, &[&environment]);
    let all = generate().env("KAFKA_BOOTSTRAP_SERVERS", &environment).flags(["--bootstrap-servers", &flag]);
    refused(&all.start_with(folder(&dotenv)).wait(SOON), 3, &[&flag]);
}

#[test]
fn a_settings_file_that_cannot_be_read() {
    for (line, content) in [
        (1, format!("MONGO_URI {SECRET}\n")),
        (2, format!("A=b\nMONGO_PASSWORD: {SECRET}\n")),
        (3, format!("# a\nA=b\nMONGO_URI=\"{SECRET}\n")),
    ] {
        let broken = Tillflow::new(["run", "--no-dashboard"]);
        let ended = broken.start_with(|folder| write(&folder.join(".env"), content.as_bytes())).wait(SOON);
        refused(&ended, 2, &[".env", &format!("line {line}")]);
    }
    let broken = Tillflow::new(["run", "--no-dashboard"]);
    let ended = broken.start_with(|folder| write(&folder.join(".env"), b"A=\xff\xfe\n")).wait(SOON);
    refused(&ended, 2, &[".env"]);
    refused(&run(&["run", "--env-file", "nowhere.env"]), 2, &["nowhere.env"]);
}

#[test]
fn a_file_that_is_no_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("notes.txt");
    let content = format!("{SECRET} {}", "Not a database at all. ".repeat(100));
    write(&file, content.as_bytes());
    let store = format!("sqlite:{}", file.display());
    let topics = Topics::init("notes", 1);
    let run = Tillflow::new(["run", "--no-dashboard", "--store", &store]).flags(topics.flags());
    refused(&run.run(SOON), 4, &["notes.txt", "not a database"]);
    let pages = Tillflow::new(["dashboard", "--listen", "127.0.0.1:0", "--store", &store]);
    refused(&pages.run(SOON), 4, &["notes.txt"]);
    assert_eq!(std::fs::read(&file).expect("the file"), content.as_bytes(), "the file was written to");

    let missing = format!("sqlite:{}", folder.path().join("none.db").display());
    let pages = Tillflow::new(["dashboard", "--listen", "127.0.0.1:0", "--store", &missing]);
    refused(&pages.run(SOON), 3, &["none.db", "tillflow run"]);
    let nowhere = format!("sqlite:{}", folder.path().join("no/folder.db").display());
    let run = Tillflow::new(["run", "--no-dashboard", "--store", &nowhere]).flags(topics.flags());
    refused(&run.run(SOON), 3, &["folder.db"]);
}

#[test]
fn a_store_that_was_filled_with_other_settings() {
    let (topics, _) = Topics::hostile("settings", Hostile { seed: 41, count: 300 });
    let (other, _) = Topics::hostile("others", Hostile { seed: 41, count: 300 });
    for store in [Store::sqlite(), Store::mongodb("settings")] {
        store.catch_up(&topics, "--correction-window 24h");
        let before = store.progress();
        for (topics, flags, words) in [
            (&topics, "", "--correction-window: the store has 86400000 ms"),
            (&topics, "--correction-window 24h --max-future 1m", "--max-future: the store has 600000 ms"),
            (&topics, "--correction-window 24h --timezone Europe/Berlin", "--timezone: the store has UTC"),
            (&topics, "--correction-window 24h --views stock", "--views: the store has all, this run stock"),
            (&other, "--correction-window 24h", "--source: the store has kafka"),
        ] {
            let ended = store.run(topics, flags).flags(["--until-caught-up"]).run(SOON);
            refused(&ended, 4, &["other settings", words, "empty store"]);
        }
        let verify = Tillflow::new(["verify", "--max-future", "1m"]).flags(store.flags());
        refused(&verify.run(SOON), 2, &["other settings", "--correction-window", "--max-future", "86400000 ms"]);
        // Not even the fence: an instance that runs with the right settings goes on.
        assert_eq!(store.progress(), before);
        store.catch_up(&topics, "--correction-window 24h");
    }
}

#[test]
fn a_topic_that_is_gone_and_one_that_was_made_anew() {
    let topics = Topics::init("anew", 2);
    topics.generate(42, 600);
    let store = Store::sqlite();
    store.catch_up(&topics, "");
    let before = store.progress();
    topics.delete().expect("deleted");

    let ended = store.run(&topics, "").run(SOON);
    refused(&ended, 3, &["tillflow init"]);

    topics.make(2);
    topics.generate(43, 100);
    // With a checkpoint the numbers can stay.
    let ended = store.run(&topics, "").run(SOON);
    refused(&ended, 4, &["created anew", "--accept-gone"]);
    assert_eq!(store.progress(), before);
    let copy = Store::sqlite();
    store.copy_to(&copy);
    let flags = ended.stderr.trim().rsplit_once(" with ").expect("flags").1;
    copy.catch_up(&topics, flags);
    let after = copy.progress().expect("progress");
    assert!(counted(&after) > 0 && counted(&after) < counted(before.as_ref().expect("progress")));
    // They are known now; and no checkpoint of before is in the way, nor needed.
    copy.catch_up(&topics, "");
    topics.generate(44, 50);
    copy.catch_up(&topics, flags);
    assert!(counted(&copy.progress().expect("progress")) > counted(&after));

    store.forget_state();
    let ended = store.run(&topics, "").run(SOON);
    refused(&ended, 4, &["created anew", "empty store"]);
    assert_eq!(store.progress(), before);
    // What the store kept itself is still there.
    let verify = Tillflow::new(["verify", "--from", "kafka"]).flags(topics.flags()).flags(store.flags());
    refused(&verify.run(SOON), 4, &["ends before offset", "--from raw-data"]);
    Tillflow::new(["verify"]).flags(store.flags()).succeed(SOON);
}

#[test]
fn a_port_that_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let topics = Topics::init("port", 1);
    let store = Store::sqlite();
    let ended = store.run_with_pages(&topics, &format!("--listen {address}")).run(SOON);
    refused(&ended, 3, &[&address, "in use", "--listen"]);
    let demo = Tillflow::new(["demo", "--listen", &address]).run(SOON);
    refused(&demo, 3, &[&address, "in use", "--listen"]);
}

/// Runs that fail, and one that does not, each with a secret where one may be.
#[test]
fn no_secret_is_said() {
    let topics = Topics::init("secret", 1);
    let port = closed_port();
    let credentials = format!("mongodb://till:{SECRET}@{port}/");
    let cases: [&[&str]; 9] = [
        &["--mongo-uri", &credentials],
        &["--mongo-uri", &format!("mongodb://till:{SECRET}@[::1:bad/")],
        &["--mongo-uri", &format!("mongodb://till:{SECRET}/@{port}/")],
        &["--mongo-uri", &format!("mongodb://{port}/?tls={SECRET}")],
        &["--mongo-uri", SECRET],
        &["--store", "sqlite:s.db", "-X", &format!("sasl.password={SECRET}"), "-X", "no.such.property=1"],
        &["--store", "sqlite:s.db", "-X", &format!("no.such.property={SECRET}")],
        &["--store", "sqlite:s.db", "-X", &format!("security.protocol={SECRET}")],
        &["--store", "sqlite:s.db", "-X", &format!("sasl.password {SECRET}")],
    ];
    for flags in cases {
        for talk in ["-q", "-vv"] {
            let ended =
                Tillflow::new(["run", "--no-dashboard", talk]).flags(topics.flags()).flags(flags.iter().copied());
            let ended = ended.run(SOON);
            assert!(matches!(ended.code, Some(2 | 3)), "{ended:?}");
            assert!(!ended.output().contains(SECRET), "{ended:?}");
        }
    }
    // The environment shows in no help.
    for command in ["run", "init", "dashboard"] {
        let help = Tillflow::new([command, "--help"]).env("MONGO_URI", &credentials).succeed(SOON);
        assert!(!help.output().contains(SECRET), "{}", help.output());
    }
    // A broker without SASL refuses the attempt.
    let sasl = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=till"];
    let flags = sasl.iter().flat_map(|property| ["-X", property]);
    let store = Store::sqlite();
    let run = store.run(&topics, "-vv").flags(flags).flags(["-X", &format!("sasl.password={SECRET}")]);
    let ended = run.run(SOON);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!ended.output().contains(SECRET), "{ended:?}");
    let last = ended.last_line();
    assert!(last.contains("sasl.password") || last.contains("credentials"), "{last}");
}
