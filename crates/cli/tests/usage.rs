//! Help texts and mistakes on the command line, as they are printed.

#[test]
fn help_and_usage_errors_are_as_recorded() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
