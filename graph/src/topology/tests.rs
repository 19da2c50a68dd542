//! What a file declares, and the exact report of what is wrong with it.

use super::*;

fn refused(text: &str) -> String {
    Topology::parse("t.toml", text).unwrap_err().to_string()
}

#[test]
fn the_example_of_the_design_is_read() {
    let text = r#"
[component.room-1]
kind = "room"
[component."feed-{a}"]
kind = "power-feed"
"#;
    assert!(refused(text).contains("a range is written {a..b}"));
    let text = r#"
[component.feed-a]
kind = "power-feed"
[component.feed-b]
kind = "power-feed"
[component.tor-7]
kind = "switch"
in = "rack-7"
[component.rack-7]
kind = "rack"
needs = [{ at_least = 1, of = ["feed-a", "feed-b"] }]
reached_via = ["tor-7"]
[component."host-7-{01..20}"]
kind = "host"
in = "rack-7"
start_slots = 4
[component."etcd-{1..3}"]
kind = "etcd-member"
in = "host-7-0{n}"
[component.etcd]
kind = "etcd-cluster"
needs = [{ at_least = 2, of = ["etcd-{1..3}"] }]
[component."db-{01..20}"]
kind = "database"
in = "host-7-{n}"
class = "customer databases"
needs_to_start = ["etcd", "etcd-{1..2}"]
"#;
    let topology = Topology::parse("t.toml", text).unwrap();
    assert_eq!(topology.components().len(), 48);
    let db = &topology.components()[topology.find("db-07").unwrap().index()];
    assert_eq!(db.container, topology.find("host-7-07"));
    assert_eq!(&*db.class, "customer databases");
    assert_eq!(
        db.needs.len(),
        3,
        "a range outside a group means all of them"
    );
    let etcd = &topology.components()[topology.find("etcd").unwrap().index()];
    assert_eq!(
        (
            etcd.needs[0].requirement.at_least,
            etcd.needs[0].requirement.of.len()
        ),
        (2, 3)
    );
}

#[test]
fn every_problem_is_reported_with_its_line() {
    let text = r#"[component.a]
kind = "hots"
[component.b]
kind = "host"
in = "c"
neds = ["a"]
needs = ["x", { at_least = 3, of = ["b", "b2"] }]
[component.b2]
kind = "host"
[component."b{2..2}"]
kind = "host"
"#;
    assert_eq!(
        refused(text),
        "t.toml: configuration refused\n\
         \x20 line 2   component \"a\" kind = \"hots\"   no such kind; did you mean \"host\"?\n\
         \x20 line 5   component \"b\" in = \"c\"   no such component; did you mean \"b\"?\n\
         \x20 line 6   component \"b\" neds   unknown key; did you mean `needs`?\n\
         \x20 line 7   component \"b\" needs \"x\"   no such component; did you mean \"b\"?\n\
         \x20 line 7   component \"b\" needs at_least = 3   the group has 2 different members\n\
         \x20          help: ask for at most as many as there are\n\
         \x20 line 10  component \"b2\"   is declared on line 8 already\n\
         6 problems"
    );
}

#[test]
fn a_component_inside_itself_is_refused() {
    let text =
        "[component.a]\nkind = \"rack\"\nin = \"b\"\n[component.b]\nkind = \"room\"\nin = \"a\"\n";
    assert!(
        refused(text)
            .contains("line 3   component \"a\" in = \"b\"   is inside itself: a in b in a"),
        "{}",
        refused(text)
    );
}

#[test]
fn cycles_among_needs_are_accepted() {
    let text = "[component.a]\nkind = \"app\"\nneeds = [\"b\", \"a\"]\n[component.b]\nkind = \"app\"\nneeds = [\"a\"]\n";
    assert!(Topology::parse("t.toml", text).is_ok());
}

#[test]
fn a_group_has_needs_and_nothing_else() {
    let text = "[component.r]\nkind = \"rack\"\n[component.g]\nkind = \"group\"\nin = \"r\"\n";
    assert!(
        refused(text).contains("a group has needs and nothing else"),
        "{}",
        refused(text)
    );
}
