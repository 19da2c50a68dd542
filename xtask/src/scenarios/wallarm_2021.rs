//! x
pub(super) const NAME: &str = "wallarm-2021";
pub(super) fn events() -> String {
    String::new()
}
