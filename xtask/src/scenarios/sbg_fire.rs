//! The fire of Strasbourg, 2021-03-10, as its provider told it: what two of the incidents have in common.

use super::stage::Stage;
use super::time::Day;

/// The day before: clocks after midnight have more than 24 hours.
pub(super) const DAY: Day = Day::new(2021, 3, 9);

/// The provider's words of the site `sbg`.
pub(super) fn provider(stage: &mut Stage) {
    let told = [
        (
            DAY.hm(24, 5),
            "minor",
            "a fire has started in one of the rooms of SBG2",
        ),
        (
            DAY.hm(25, 50),
            "critical",
            "the fire in SBG2 could not be controlled; the whole site is isolated, which impacts SBG1-4",
        ),
    ];
    for (at, indicator, words) in told {
        stage.provider(at, "sbg", indicator, words);
    }
}
