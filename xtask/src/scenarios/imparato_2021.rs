//! x
pub(super) const NAME: &str = "imparato-2021";
pub(super) fn events() -> String {
    String::new()
}
