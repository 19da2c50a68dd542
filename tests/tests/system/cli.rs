//! The command itself: its exit codes (docs/exit-codes.md), colours, width, and what must not get through to a terminal.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use blackstart_tests::servers::nginx::Nginx;
use blackstart_tests::{TempHome, binary, free_port, wait_until};
use unicode_width::UnicodeWidthStr;

use crate::parts::{START, ask, err, out, run};
use crate::platform::{Platform, probe};

/// Serves an empty page, and never within a millisecond.
fn slow_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 1_024];
            if stream.read(&mut head).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
                // It may have given up.
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .unwrap_or(());
            }
        }
    });
    address
}

const TOPOLOGY: &str = r#"
[component.h]
kind = "host"
[component.good]
kind = "service"
in = "h"
[component.bad]
kind = "service"
in = "h"
[component.unseen]
kind = "app"
"#;

#[test]
fn every_exit_code_is_the_documented_one() {
    let (good, bad) = (free_port(), free_port());
    let _listener = TcpListener::bind(good.address()).expect("a free port");
    let probes = probe(
        "good",
        "tcp.connect",
        &format!("address = \"{}\"", good.address()),
    ) + &probe(
        "bad",
        "tcp.connect",
        &format!("address = \"{}\"", bad.address()),
    );
    let mut platform = Platform::start("exit-codes", TOPOLOGY, &probes);
    let listener = TcpListener::bind(bad.address()).expect("a free port");
    platform.shows("good", "up", "*");
    platform.shows("bad", "up", "*");
    let code = |arguments: &[&str]| platform.run(arguments).status.code();
    // What nobody observes is unknown, and nothing is wrong for that; an agent that starts may be late.
    wait_until("nothing to be wrong", START * 3, || {
        code(&["status"]) == Some(0)
    });
    drop(listener);
    platform.shows("bad", "down", "*");
    let aggregator = format!("127.0.0.1:{}", platform.port());
    let nobody = free_port();
    let nobody = nobody.address().to_string();
    let home = TempHome::new("exit-codes-files");
    let file = |name: &str, text: &str| home.write(name, text).display().to_string();
    let topology = file("topology.toml", TOPOLOGY);
    let broken = file("broken.toml", "[component.a]\nkind = \"hots\"\n");
    let off = "[discovery]\nenabled = false\n";
    let asks = |name: &str, port: u16| {
        let keys = format!("address = \"127.0.0.1:{port}\"\ntimeout = \"60s\"");
        file(name, &format!("{off}{}", probe("x", "tcp.connect", &keys)))
    };
    let ok = asks("ok.toml", good.number());
    let failed = asks("failed.toml", bad.number());
    let slow_server = slow_server();
    let slow = file(
        "slow.toml",
        &format!(
            "{off}{}",
            probe(
                "x",
                "http.get",
                &format!("url = \"http://{slow_server}\"\nslow_after = \"1ms\"\ntimeout = \"60s\"")
            )
        ),
    );
    let unknown = file(
        "unknown.toml",
        &format!(
            "{off}{}",
            probe(
                "x",
                "http.get",
                &format!(
                    "url = \"http://{}\"\nbearer_token_env = \"BLACKSTART_TEST_NOT_SET\"",
                    good.address()
                )
            )
        ),
    );
    let nothing = file("nothing.toml", off);
    let at: [&str; 2] = ["--aggregator", &aggregator];
    let rows: Vec<(i32, Vec<&str>)> = vec![
        (1, vec!["status"]),
        (0, vec!["why", "bad"]),
        (2, vec!["why", "badd"]),
        (0, vec!["ready", "good"]),
        (1, vec!["ready", "good", "bad"]),
        (1, vec!["ready", "bad", "unseen"]),
        (3, vec!["ready", "good", "unseen"]),
        (2, vec!["ready", "bad", "nothing"]),
        (0, vec!["agents"]),
        (0, vec!["topology", "show"]),
        (0, vec!["topology", "validate", &topology]),
        (78, vec!["topology", "validate", &broken]),
        (2, vec!["topology", "validate", "/nowhere"]),
        (0, vec!["completions", "zsh"]),
        (0, vec!["--version"]),
        (0, vec!["--help"]),
        (2, vec![]),
        (0, vec!["check", "--config", &ok]),
        (1, vec!["check", "--config", &slow]),
        (2, vec!["check", "--config", &failed]),
        (3, vec!["check", "--config", &unknown]),
        (2, vec!["check", "--config", &nothing]),
        (3, vec!["check", "--format", "nagios", "--config", &nothing]),
        (78, vec!["check", "--config", &broken]),
        (3, vec!["check", "--format", "nagios", "--config", &broken]),
        (78, vec!["up", "--config", &broken]),
    ];
    for (expected, arguments) in rows {
        let output = run("blackstart", &[&at[..], &arguments].concat());
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}\n{}{}",
            out(&output),
            err(&output)
        );
    }
    for arguments in [
        &["status"][..],
        &["why", "a"],
        &["ready", "a"],
        &["agents"],
        &["topology", "show"],
        &["status", "--watch"],
    ] {
        let output = run(
            "blackstart",
            &[&["--aggregator", &nobody], arguments].concat(),
        );
        assert_eq!(
            output.status.code(),
            Some(3),
            "{arguments:?}: {}",
            err(&output)
        );
    }
    let mistyped = run("blackstart", &[&at[..], &["why", "badd"]].concat());
    assert_eq!(
        err(&mistyped),
        "blackstart: the topology has no component \"badd\"; did you mean \"bad\"?\n"
    );

    // A second process on a state folder is refused with the pid of the first.
    for (program, folder, pid) in [
        (
            "blackstart-aggregator",
            "aggregator",
            platform.aggregating.pid(),
        ),
        ("blackstart-agent", "agent-h", platform.probing[0].pid()),
    ] {
        let folder = platform.home.join(folder).display().to_string();
        let mut arguments = vec!["run", "--state-dir", &folder];
        if program == "blackstart-aggregator" {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        let output = run(program, &arguments);
        assert_eq!(output.status.code(), Some(1), "{program}: {}", err(&output));
        assert!(
            err(&output).contains(&format!("{pid}")),
            "{program}: {}",
            err(&output)
        );
    }

    // An agent that falls silent is a reason to look, even where nothing else is known to be wrong.
    let _listener = TcpListener::bind(bad.address()).expect("the port is ours");
    platform.shows("bad", "up", "*");
    wait_until("all to be well", START * 3, || {
        ask(platform.port(), &["status"]).1 == 0
    });
    platform.probing[0].kill();
    wait_until("the silent agent to count", START * 3, || {
        ask(platform.port(), &["status"]).1 == 1
    });
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = target.local_addr().expect("its address");
    let home = TempHome::new("colours");
    let keys = format!("address = \"{address}\"\ntimeout = \"60s\"");
    let probes = probe("x", "tcp.connect", &keys);
    let config = home.write(
        "agent.toml",
        &format!("[discovery]\nenabled = false\n{probes}"),
    );
    let on_terminal = |variables: &[(&str, &str)]| {
        let command = format!(
            "{} check --config {}",
            binary("blackstart").display(),
            config.display()
        );
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]);
        // A build server is taken for a terminal with colours.
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            script.env_remove(name);
        }
        script.env("TERM", "xterm-256color");
        for (name, value) in variables {
            script.env(name, value);
        }
        let output = script.output().expect("script of bsdutils runs");
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
        out(&output)
    };
    let coloured = on_terminal(&[]);
    assert!(coloured.contains("\x1b[32mok\x1b[0m"), "{coloured:?}");
    for variables in [
        &[("NO_COLOR", "1")][..],
        &[("TERM", "dumb")],
        &[("CLICOLOR", "0")],
    ] {
        let plain = on_terminal(variables);
        assert!(
            plain.contains("ok") && !plain.contains('\x1b'),
            "{variables:?}: {plain:?}"
        );
    }
    let piped = run(
        "blackstart",
        &["check", "--config", &config.display().to_string()],
    );
    assert!(
        out(&piped).contains("ok") && !out(&piped).contains('\x1b'),
        "{}",
        out(&piped)
    );
}

/// Ids as long as they may be, and of characters that take two columns, none, or have no case.
const IDS: [&str; 6] = [
    "データベース-主-東京-第一データセンター-三号室-七番ラック",
    "база-данных-основная-в-первом-центре-обработки-данных",
    "e\u{301}tat-e\u{301}tat-e\u{301}tat-e\u{301}tat-e\u{301}tat-e\u{301}tat-e\u{301}tat-e\u{301}tat",
    "🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥",
    "مركز-البيانات-الأول",
    "a",
];

#[test]
fn no_line_is_wider_than_80_columns_whatever_the_ids_are() {
    let long = "very-long-component-id-".repeat(11);
    let mut topology = "[component.h]\nkind = \"host\"\n".to_owned();
    let mut probes = String::new();
    let closed = free_port();
    let ids: Vec<&str> = IDS.into_iter().chain([&*long]).collect();
    let all = ids
        .iter()
        .map(|id| format!("\"{id}\""))
        .collect::<Vec<_>>()
        .join(", ");
    for (n, id) in ids.iter().enumerate() {
        topology.push_str(&format!(
            "[component.\"{id}\"]\nkind = \"service\"\nin = \"h\"\n"
        ));
        let keys = format!("component = \"{id}\"\naddress = \"{}\"", closed.address());
        probes.push_str(&probe(&format!("p{n}"), "tcp.connect", &keys));
    }
    topology.push_str(&format!(
        "[component.app]\nkind = \"app\"\nneeds = [{all}, {{ at_least = 2, of = [{all}] }}]\n"
    ));
    let platform = Platform::start("width", &topology, &probes);
    for id in &ids {
        platform.shows(id, "down", "*");
    }
    platform.incident("open");
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["status"],
        vec!["status", "--problems"],
        vec!["agents"],
        vec!["topology", "show"],
        vec!["why", "app"],
        vec!["ready", "app", "h"],
        vec!["ready", "h"],
    ];
    commands.push([&["ready"][..], &ids].concat());
    for id in &ids {
        commands.push(vec!["why", id]);
    }
    for arguments in commands {
        let output = platform.run(&arguments);
        let said = out(&output);
        assert!(!said.is_empty(), "{arguments:?}: {}", err(&output));
        for line in said.lines() {
            assert!(
                line.width() <= 80,
                "{arguments:?} is {} wide: {line}",
                line.width()
            );
        }
        if arguments[0] == "why" {
            assert!(said.contains(" is "), "{said}");
        }
    }
    platform.stop();
}

/// Sequences that clear a screen, recolour it, set a title, turn text around, in both forms of a control sequence.
const EVIL: &str = "x\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}y\x7f|z";

/// Whether a text may be shown on a terminal as it is.
fn is_harmless(text: &str) -> bool {
    text.chars()
        .all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}'))
}

#[test]
fn what_a_server_says_does_not_drive_the_terminal() {
    let nginx = Nginx::start(&format!("location / {{ return 503 '{EVIL}'; }}"), None);
    let probes = probe(
        "web",
        "http.get",
        &format!("url = \"{}\"", nginx.http_url()),
    );
    let topology = "[component.h]\nkind = \"host\"\n[component.web]\nkind = \"service\"\n";
    let platform = Platform::start("escapes", topology, &probes);
    platform.shows("web", "down", "status 503, expected 200-399: x [2J*z");
    let config = platform.home.join("h.toml").display().to_string();
    for arguments in [
        &["status"][..],
        &["status", "--format", "json"],
        &["why", "web"],
        &["why", "web", "--format", "json"],
        &["ready", "web"],
        &["ready", EVIL],
        &["why", EVIL],
        &["agents"],
        &["check", "--config", &config],
        &["check", "--config", &config, "--format", "json"],
        &["check", "--config", &config, "--format", "nagios"],
    ] {
        let output = platform.run(arguments);
        let said = out(&output) + &err(&output);
        assert!(!said.is_empty(), "{arguments:?}");
        // JSON may hold what turns text around: it is not for people.
        let json = arguments.contains(&"json");
        let shown = if json {
            said.replace('\u{202e}', "")
        } else {
            said.clone()
        };
        assert!(is_harmless(&shown), "{arguments:?}: {said:?}");
    }
    // The log of an agent or aggregator is read on a terminal, too.
    for log in [platform.aggregating.log(), platform.probing[0].log()] {
        assert!(is_harmless(&log), "{log:?}");
    }
    platform.stop();
}
