//! Files and command lines with mistakes in them: the exact words of each program, and that nothing was started.

use std::path::Path;
use std::process::{Command, Output};

use blackstart_tests::{TempHome, binary};

/// Files of a kind with every problem of each as it is reported.
struct Table {
    /// The program that checks such a file and how it names itself.
    check: &'static [&'static str],
    /// The name of the file.
    file: &'static str,
    /// What is said behind the number of problems; `{}` stands for the file.
    tail: &'static str,
    rows: &'static [(&'static str, &'static str)],
}

fn run(command: &[&str]) -> Output {
    Command::new(binary(command[0]))
        .args(&command[1..])
        .env_remove("BLACKSTART_AGGREGATOR")
        .output()
        .expect("our own program runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(table: &Table) {
    let home = TempHome::new("bad-input");
    for (text, problems) in table.rows {
        let file = home.write(table.file, text);
        let name = file.display().to_string();
        let mut command = table.check.to_vec();
        command.push(&name);
        let output = run(&command);
        let count = problems
            .lines()
            .filter(|line| !line.contains(" help: "))
            .count();
        let count = if count == 1 {
            "1 problem".to_owned()
        } else {
            format!("{count} problems")
        };
        let problems: String = problems.lines().map(|line| format!("  {line}\n")).collect();
        let tail = table.tail.replace("{}", &name);
        let expected = format!(
            "{}: {name}: configuration refused\n{problems}{count}{tail}\n",
            table.check[0]
        );
        assert_eq!(said(&output), expected, "for the file\n{text}");
        assert_eq!(output.status.code(), Some(78), "for the file\n{text}");
        assert!(output.stdout.is_empty(), "for the file\n{text}");
    }
}

#[test]
fn every_mistake_in_a_topology_is_named_with_its_line() {
    check(&Table {
        check: &["blackstart", "topology", "validate"],
        file: "topology.toml",
        tail: "",
        rows: &[
            (
                "[component.a\nkind = \"host\"\n",
                "line 1   not TOML: unclosed table, expected `]`",
            ),
            (
                "[component.a]\nkind = \"host\"\nkind = \"rack\"\n",
                "line 3   not TOML: duplicate key",
            ),
            (
                "[component.a]\nkind = \"host\"\nneds = []\n",
                "line 3   component \"a\" neds   unknown key; did you mean `needs`?",
            ),
            (
                "[component.a]\nkind = \"host\"\ncolour = \"red\"\n",
                "line 3   component \"a\" colour   unknown key\n         help: known here: backs_up, class, in, kind, \
                 labels, needs, needs_to_run, needs_to_start, public, reached_via, start_slots, uses, uses_to_run, \
                 uses_to_start, weight",
            ),
            (
                "[components.a]\nkind = \"host\"\n",
                "line 1   components   unknown key; did you mean `component`?",
            ),
            (
                "[component.a]\nin = \"a\"\n",
                "line 1   component \"a\" kind   is missing",
            ),
            (
                "[component.a]\nkind = \"etcd-membr\"\n",
                "line 2   component \"a\" kind = \"etcd-membr\"   no such kind; did you mean \"etcd-member\"?",
            ),
            (
                "[component.a]\nkind = \"host\"\nin = \"rack-7\"\nneeds = [\"b\"]\n[component.rack-07]\nkind = \"rack\"\n",
                "line 3   component \"a\" in = \"rack-7\"   no such component; did you mean \"rack-07\"?\n\
                 line 4   component \"a\" needs \"b\"   no such component; did you mean \"a\"?",
            ),
            (
                "[component.\"h-{1..3}\"]\nkind = \"host\"\n[component.h-2]\nkind = \"host\"\n",
                "line 3   component \"h-2\"   is declared on line 1 already",
            ),
            (
                "[component.\"h-{1..3}\"]\nkind = \"host\"\n[component.\"db-{1..4}\"]\nkind = \"database\"\nin = \"h-{n}\"\n",
                "line 5   component \"db-4\" in = \"h-4\"   no such component; did you mean \"h-1\"?",
            ),
            (
                "[component.\"h-{3..1}\"]\nkind = \"host\"\n",
                "line 1   component \"h-{3..1}\"   the range goes backwards; write {1..3}",
            ),
            (
                "[component.a]\nkind = \"host\"\nneeds = [{ at_least = 0, of = [\"a\"] }, { at_least = 2, of = [\"a\"] }, \
                 { of = [\"a\"] }, { at_least = 1 }, { at_least = 1, of = [] }, 7]\n",
                "line 3   component \"a\" needs = 7   expected a text in quotes or a table in braces\n\
                 line 3   component \"a\" needs at_least = 0   expected a whole number from 1 to 4294967295\n\
                 line 3   component \"a\" needs at_least   is missing\n         help: say how many of them are enough\n\
                 line 3   component \"a\" needs of   is missing\n         help: list the members\n\
                 line 3   component \"a\" needs at_least = 2   the group has one member\n         \
                 help: ask for at most as many as there are\n\
                 line 3   component \"a\" needs of = []   a group must have members",
            ),
            (
                "[component.a]\nkind = \"rack\"\nin = \"b\"\n[component.b]\nkind = \"room\"\nin = \"a\"\n",
                "line 3   component \"a\" in = \"b\"   is inside itself: a in b in a",
            ),
            (
                "[component.a]\nkind = \"host\"\nin = \"a\"\n",
                "line 3   component \"a\" in = \"a\"   is inside itself: a in a",
            ),
            (
                "[component.g]\nkind = \"group\"\nin = \"r\"\nneeds = [\"r\"]\n[component.r]\nkind = \"rack\"\n",
                "line 3   component \"g\" in = \"r\"   a group has needs and nothing else\n         help: give its members this key",
            ),
            (
                "[component.a]\nkind = 7\nweight = -1\nstart_slots = 0\nlabels = { os = 12 }\n",
                "line 2   component \"a\" kind = 7   expected a text in quotes\n\
                 line 3   component \"a\" weight = -1   expected a number from 0 to 1000000\n\
                 line 4   component \"a\" start_slots = 0   expected a whole number from 1 to 100000\n\
                 line 5   component \"a\" labels = 12   expected a text in quotes",
            ),
            (
                "[component.\"\"]\nkind = \"host\"\n[component.\"a\\u001b[31m\"]\nkind = \"host\"\n",
                "line 1   component \"\"   an id has 1 to 256 bytes and no control character\n\
                 line 3   component \"a\\u{1b}[31m\"   an id has 1 to 256 bytes and no control character",
            ),
        ],
    });
}

#[test]
fn every_mistake_in_an_agents_configuration_is_named_with_its_line() {
    check(&Table {
        check: &["blackstart-agent", "validate"],
        file: "agent.toml",
        tail: ". Nothing was started. Check again with: blackstart-agent validate {}",
        rows: &[
            (
                "host = web-1\n",
                "line 1   not TOML: string values must be quoted, expected literal string",
            ),
            (
                "host = \"\"\nhots = \"a\"\n[spol]\n",
                "line 1   host = \"\"   expected an id of 1 to 256 bytes without control characters and without space around it\n\
                 line 2   hots   unknown key; did you mean `host`?\n\
                 line 3   spol   unknown key; did you mean `spool`?",
            ),
            (
                "aggregators = [\"10.0.0.5:7400\", \"a b\", \"127.0.0.1:0\"]\n",
                "line 1   aggregators = [\"10.0.0.5:7400\", \"a b\", \"127.0.0.1:0\"]   an aggregator at 10.0.0.5 needs TLS: it is \
                 not on loopback\n\
                 line 1   aggregators = [\"10.0.0.5:7400\", \"a b\", \"127.0.0.1:0\"]   \"a b\" is no address: expected a name or an address, like \"10.0.0.5:7400\"\n\
                 line 1   aggregators = [\"10.0.0.5:7400\", \"a b\", \"127.0.0.1:0\"]   \"127.0.0.1:0\" is no address: expected a port from 1 to 65535, like \"10.0.0.5:7400\"",
            ),
            (
                "[tls]\nca_file = \"ca.pem\"\n[spool]\nbytes_max = \"3 KiB\"\nring_results = -1\n[discovery]\nenabled = \"no\"\ninterval = \"1\"\n",
                "line 1   tls certificate_file   is missing\n         help: mutual TLS needs all three files\n\
                 line 1   tls key_file   is missing\n         help: mutual TLS needs all three files\n\
                 line 4   spool bytes_max = \"3 KiB\"   must be from 1 MiB to 1 TiB\n\
                 line 5   spool ring_results = -1   expected a whole number from 0 to 1000000\n\
                 line 7   discovery enabled = \"no\"   expected true or false, without quotes\n\
                 line 8   discovery interval = \"1\"   expected a number and a unit: ms, s, m, h or d, like \"5s\"",
            ),
            (
                "[probe.a]\n[probe.b]\nkind = \"tcp.conect\"\n[probe.c]\nkind = \"carrier.pigeon\"\n[probe.d]\nkind = \"tcp.connect\"\n\
                 address = \"10.0.0.5\"\ninterval = \"10ms\"\ntimout = \"5s\"\ncomponent = \" d\"\n",
                "line 1   probe \"a\" kind   is missing\n\
                 line 3   probe \"b\" kind = \"tcp.conect\"   no such kind of probe; did you mean \"tcp.connect\"?\n\
                 line 5   probe \"c\" kind = \"carrier.pigeon\"   no such kind of probe\n         help: `blackstart-agent probes` lists them\n\
                 line 8   probe \"d\" address = \"10.0.0.5\"   expected a port from 1 to 65535 behind the last colon, like \"10.0.0.5:5432\"\n\
                 line 9   probe \"d\" interval = \"10ms\"   must be from 1s to 1d\n\
                 line 10  probe \"d\" timout   unknown key; did you mean `timeout`?\n\
                 line 11  probe \"d\" component = \" d\"   expected an id of 1 to 256 bytes without control characters and without space around it",
            ),
            (
                "[probe.db]\nkind = \"postgres.ready\"\naddress = \"127.0.0.1:5432\"\nuser = \"app\"\npassword = \"hunter2\"\n",
                "line 5   probe \"db\" password   a secret must not stand in this file\n         help: put it into a file of its \
                 own and name that with password_file, or name a variable with password_env",
            ),
            (
                "[probe.one]\nkind = \"tcp.connect\"\ncomponent = \"db\"\naddress = \"127.0.0.1:1\"\n\
                 [probe.two]\nkind = \"tcp.connect\"\ncomponent = \"db\"\naddress = \"127.0.0.1:2\"\n",
                "line 5   probe \"two\"   answers for tcp.connect of \"db\", as probe \"one\" does\n         help: the newer \
                 answer would hide the other: let one of the two ask for another component",
            ),
        ],
    });
}

#[test]
fn every_mistake_in_an_aggregators_configuration_is_named_with_its_line() {
    check(&Table {
        check: &["blackstart-aggregator", "validate"],
        file: "aggregator.toml",
        tail: ". Nothing was started. Check again with: blackstart-aggregator validate {}",
        rows: &[
            (
                "listen = \"localhost:7400\"\nverbosity = 1\n",
                "line 1   listen = \"localhost:7400\"   expected an address and a port, like \"127.0.0.1:7400\" or \"[::1]:7400\"\n         \
                 help: names are not looked up: an aggregator starts without DNS\n\
                 line 2   verbosity   unknown key\n         help: known here: admission, agents, journal, listen, state_dir, tls, topology_file",
            ),
            (
                "listen = \"0.0.0.0:7400\"\n",
                "line 1   listen = \"0.0.0.0:7400\"   listening on 0.0.0.0:7400 without TLS is refused: anybody on that network could \
                 report and read; add a [tls] table (ca_file, certificate_file, key_file), or listen on 127.0.0.1:7400",
            ),
            (
                "[admission]\nsessions_per_second = 0\n[journal]\nretention = \"1 fortnight\"\nbytes_max = \"1 KiB\"\n[agents]\nlost_after = 5\n\
                 [tls]\nkey_file = \"\"\n",
                "line 2   admission sessions_per_second = 0   expected a whole number from 1 to 100000\n\
                 line 4   journal retention = \"1 fortnight\"   expected a number and a unit: ms, s, m, h or d, like \"5s\"\n\
                 line 5   journal bytes_max = \"1 KiB\"   must be from 16 MiB to 16 TiB\n\
                 line 7   agents lost_after = 5   expected a text with a unit, like \"5s\"\n\
                 line 8   tls ca_file   is missing\n         help: TLS is mutual: all three files are needed\n\
                 line 8   tls certificate_file   is missing\n         help: TLS is mutual: all three files are needed\n\
                 line 9   tls key_file = \"\"   must not be empty",
            ),
        ],
    });
}

#[test]
fn a_refused_configuration_leaves_nothing_behind() {
    let home = TempHome::new("refused");
    let state = home.join("state");
    let agent = home.write("agent.toml", "state_dir = \"state\"\nhots = \"a\"\n");
    let aggregator = home.write(
        "aggregator.toml",
        "state_dir = \"state\"\nlisten = \"all\"\n",
    );
    let topology = home.write("topology.toml", "[component.a]\nkind = \"hots\"\n");
    let path = |path: &Path| path.display().to_string();
    let (agent, aggregator, topology, dir) = (
        path(&agent),
        path(&aggregator),
        path(&topology),
        path(&state),
    );
    for command in [
        &["blackstart-agent", "run", "--config", &agent][..],
        &["blackstart", "up", "--config", &agent, "--state-dir", &dir],
        &["blackstart-aggregator", "run", "--config", &aggregator],
        &[
            "blackstart-aggregator",
            "run",
            "--listen",
            "0.0.0.0:0",
            "--state-dir",
            &dir,
        ],
        &[
            "blackstart-agent",
            "run",
            "--aggregator",
            "10.0.0.5:7400",
            "--state-dir",
            &dir,
        ],
    ] {
        let output = run(command);
        assert_eq!(
            output.status.code(),
            Some(78),
            "{command:?}: {}",
            said(&output)
        );
        assert!(!state.exists(), "{command:?} left something behind");
    }
    // The last topology that was accepted is in the state folder, so that has to be looked at.
    let output = run(&[
        "blackstart-aggregator",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--topology",
        &topology,
        "--state-dir",
        &dir,
    ]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(
        said(&output).ends_with(&format!(
            "blackstart-aggregator: {topology}: configuration refused\n  line 2   component \"a\" kind = \"hots\"   no such kind; did you \
             mean \"host\"?\n1 problem. Nothing was started.\n"
        )),
        "{}",
        said(&output)
    );
}

/// What follows every message about a command line.
const TRY_HELP: &str = "\n\nFor more information, try '--help'.\n";

#[test]
fn every_mistake_in_a_command_line_is_named() {
    let usage = |text: &str| format!("error: {text}{TRY_HELP}");
    let unit = "expected a number and a unit: ms, s, m, h or d, like \"5s\"";
    let rows: Vec<(&[&str], String)> = vec![
        (
            &["blackstart", "statu"],
            usage("unrecognized subcommand 'statu'\n\n  tip: a similar subcommand exists: 'status'\n\nUsage: blackstart [OPTIONS] <COMMAND>"),
        ),
        (
            &["blackstart", "status", "--fromat", "json"],
            usage("unexpected argument '--fromat' found\n\n  tip: a similar argument exists: '--format'\n\nUsage: blackstart status --format <FORMAT>"),
        ),
        (
            &["blackstart", "--format", "yaml", "status"],
            usage("invalid value 'yaml' for '--format <FORMAT>'\n  [possible values: text, json, nagios]"),
        ),
        (
            &["blackstart", "--format", "nagios", "status"],
            "blackstart: --format nagios is for `blackstart check` only\n".to_owned(),
        ),
        (
            &["blackstart", "record"],
            usage("the following required arguments were not provided:\n  <FOLDER>\n\nUsage: blackstart record <FOLDER>"),
        ),
        (
            &["blackstart", "ready", "a", "--wait", "--timeout", "3"],
            usage(&format!("invalid value '3' for '--timeout <TIMEOUT>': {unit}")),
        ),
        (
            &["blackstart", "ready", "a", "--timeout", "3s"],
            usage("the following required arguments were not provided:\n  --wait\n\nUsage: blackstart ready --wait --timeout <TIMEOUT> <COMPONENTS>..."),
        ),
        (
            &["blackstart", "check", "--timeout", "soon"],
            usage(&format!("invalid value 'soon' for '--timeout <TIMEOUT>': {unit}")),
        ),
        (
            &["blackstart", "--aggregator", "10.1.2.3:7400", "status"],
            "blackstart: 10.1.2.3:7400 is not on loopback, and without TLS nothing else is dialled\n  name ca_file, certificate_file and \
             key_file of this side\n"
                .to_owned(),
        ),
        (
            &["blackstart", "--aggregator", "127.0.0.1:0", "status"],
            usage(
                "invalid value '127.0.0.1:0' for '--aggregator <AGGREGATOR>': \"127.0.0.1:0\" is no address: expected a port from 1 to \
                 65535, like \"10.0.0.5:7400\"",
            ),
        ),
        (
            &["blackstart", "--ca-file", "ca.pem", "status"],
            "blackstart: --ca-file, --certificate-file and --key-file go together: mutual TLS needs all three\n".to_owned(),
        ),
        (
            &["blackstart", "--ca-file", "no.pem", "--certificate-file", "no.pem", "--key-file", "no.key", "status"],
            "blackstart: ca_file no.pem cannot be read: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            &["blackstart", "up", "--listen", "localhost:7400"],
            usage(
                "invalid value 'localhost:7400' for '--listen <LISTEN>': expected an address and a port, like \"127.0.0.1:7400\" or \
                 \"[::1]:7400\"; names are not looked up: an aggregator starts without DNS",
            ),
        ),
        (
            &["blackstart", "topology", "validate", "nowhere.toml"],
            "blackstart: nowhere.toml: cannot be read: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            &["blackstart-agent", "run", "--confg", "x"],
            usage("unexpected argument '--confg' found\n\n  tip: a similar argument exists: '--config'\n\nUsage: blackstart-agent run --config <CONFIG>"),
        ),
        (
            &["blackstart-agent", "validate"],
            usage("the following required arguments were not provided:\n  <FILE>\n\nUsage: blackstart-agent validate <FILE>"),
        ),
        (
            &["blackstart-agent", "run", "--host", "a\nb"],
            usage(
                "invalid value 'a\nb' for '--host <HOST>': expected an id of 1 to 256 bytes without control characters and without space \
                 around it",
            ),
        ),
        (
            &["blackstart-aggregator", "run", "--listn", "x"],
            usage("unexpected argument '--listn' found\n\n  tip: a similar argument exists: '--listen'\n\nUsage: blackstart-aggregator run --listen <ADDRESS>"),
        ),
        (
            &["blackstart-aggregator", "run", "--listen", "localhost:7400"],
            usage(
                "invalid value 'localhost:7400' for '--listen <ADDRESS>': expected an address and a port, like \"127.0.0.1:7400\" or \
                 \"[::1]:7400\"; names are not looked up: an aggregator starts without DNS",
            ),
        ),
        (
            &["blackstart-aggregator", "journal", "--format", "xml"],
            usage("invalid value 'xml' for '--format <FORMAT>'\n  [possible values: jsonl]"),
        ),
    ];
    for (command, expected) in rows {
        let output = run(command);
        assert_eq!(said(&output), expected, "{command:?}");
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(output.stdout.is_empty(), "{command:?}");
    }
    let output = run(&["blackstart-aggregator", "journal", "--state-dir", "nowhere"]);
    assert_eq!(
        said(&output),
        "blackstart-aggregator: no journal in nowhere; name the state folder of an aggregator with --state-dir\n"
    );
    assert_eq!(output.status.code(), Some(1));
}
