use super::*;
use crate::{
    client::{Condition, Metadata, OnLimit, Tenant},
    edge::adobe::policy::Application,
};

fn problems(text: &str) -> Vec<String> {
    Policies::parse(text).unwrap_err().0
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    Metadata::new(&mut pairs.to_vec()).unwrap()
}

const TWO: &str = r#"
    [[applications]]
    id = "phone"
    name = "The phone"
    policies = ["household", "live"]
    required = ["deviceName"]

    [[applications]]
    id = "tv"
    policies = ["household"]
    may_terminate = false
    account = "subject"
    tenants = {cable = "acme-cable"}

    [[policies]]
    name = "household"
    strategy = "fifo"

    [[policies.rules]]
    name = "two devices"
    max = 2
    distinct = "deviceId"

    [[policies]]
    name = "live"
    counts = "account"

    [[policies.rules]]
    name = "one of each live channel"
    message = "This channel is playing elsewhere"
    max = 1
    per = ["channel"]
    where = {contentType = ["live", 5, true]}
"#;

#[test]
fn an_application_has_the_rules_of_its_policies() {
    let policies = Policies::parse(TWO).unwrap();
    let phone = policies.application("phone").unwrap();
    let required: Vec<_> = phone.required().collect();
    assert_eq!(
        required,
        ["deviceId", "contentType", "channel", "deviceName"]
    );
    let session = metadata(&[
        ("applicationId", "phone"),
        ("channel", "1"),
        ("contentType", "live"),
    ]);
    let applied = phone.applied(&session);
    let condition = |key: &str, values: &[&str]| Condition {
        key: key.into(),
        values: values.iter().map(|value| (*value).into()).collect(),
    };
    let household = &applied[0];
    assert_eq!(
        household.limit.conditions,
        [condition("applicationId", &["phone", "tv"])]
    );
    assert_eq!(household.limit.distinct.as_deref(), Some("deviceId"));
    assert_eq!(
        (household.max(), household.rule.on_limit),
        (2, OnLimit::ReplaceOldest)
    );
    let live = &applied[1];
    let conditions = [
        condition("contentType", &["live", "5", "true"]),
        condition("channel", &["1"]),
    ];
    assert_eq!(live.limit.conditions, conditions);
    assert_eq!(live.rule.on_limit, OnLimit::Refuse);
    assert_eq!(&*live.rule.message, "This channel is playing elsewhere");
    // Rules of both kinds.
    assert_eq!(phone.terms(&applied).on_limit, OnLimit::Refuse);
    assert_eq!(phone.terms(&applied[..1]).on_limit, OnLimit::ReplaceOldest);
    assert_eq!(phone.terms(&[]).on_limit, OnLimit::Refuse);
}

#[test]
fn a_rule_applies_only_to_sessions_that_it_counts() {
    let policies = Policies::parse(TWO).unwrap();
    let phone = policies.application("phone").unwrap();
    let on_demand = metadata(&[("applicationId", "phone"), ("contentType", "vod")]);
    assert_eq!(phone.applied(&on_demand).len(), 1);
}

#[test]
fn an_account_is_that_of_the_provider_unless_subjects_are_unique() {
    let policies = Policies::parse(TWO).unwrap();
    let (phone, tv) = (
        policies.application("phone").unwrap(),
        policies.application("tv").unwrap(),
    );
    let acme = Tenant::new("acme").unwrap();
    let account = |application: &Application, idp, subject| {
        let found = application.account(&acme, idp, subject);
        found.map(|(tenant, account)| format!("{tenant} {account}"))
    };
    assert_eq!(
        account(phone, "cable", "12/34").unwrap(),
        "acme cable/12/34"
    );
    assert_eq!(account(tv, "cable", "1234").unwrap(), "acme-cable 1234");
    assert_eq!(account(tv, "dish", "1234").unwrap(), "acme 1234");
    let long = "x".repeat(123);
    for (idp, subject) in [("a/b", "c"), ("", "c"), ("a", ""), ("cable", long.as_str())] {
        assert!(account(phone, idp, subject).is_err(), "{idp} {subject}");
    }
}

#[test]
fn the_syntax_is_checked_with_the_line() {
    assert_eq!(
        problems("applications = 5\n")[0],
        "line 1: invalid type: integer `5`, expected a sequence"
    );
    let unknown = "[[policies]]\nname = \"p\"\nrules = []\nstrtegy = \"fifo\"\n";
    let found = problems(unknown);
    assert!(
        found[0].starts_with("line 4: unknown field `strtegy`"),
        "{found:?}"
    );
}

#[test]
fn all_problems_are_reported_together_with_remedies() {
    let text = r#"
        requests_per_minute = 0
        [[applications]]
        id = "a:b"
        policies = ["none", "p"]
        same = ["a", "b", "c", "d", "e"]
        tenants = {cable = "not a tenant"}
        [[applications]]
        id = "a:b"
        required = ["idp"]
        [[policies]]
        name = "p"
        rules = [{name = "r", max = 0, per = ["channel", "channel", "superseded"], where = {x = [], y = ["1"]}}]
        [[policies]]
        name = "unused"
        rules = []
    "#;
    let found = problems(text);
    for part in [
        "requests_per_minute: 0",
        "\"a:b\" is defined twice",
        "id: must be 1 to 256 bytes",
        "there is no policy \"none\"",
        "same: has more than 4 keys",
        "tenants: \"cable\": a tenant is",
        "\"idp\" is in the path",
        "max: 0: must be at least 1",
        "\"channel\" is in `where` and `per`, or twice",
        "\"superseded\": the edge sets this key",
        "`where` and `per` have together at most 3 keys",
        "where: \"x\" must have 1 to 16 values",
        "policy \"unused\" has no rules",
        "policy \"unused\" has no application",
    ] {
        assert!(
            found.iter().any(|one| one.contains(part)),
            "{part} is not in {found:#?}"
        );
    }
    assert_eq!(found.len(), 15, "{found:#?}");
}

#[test]
fn limits_of_an_init_are_checked_for_each_application() {
    let rules: String = (0..9)
        .map(|n| format!("{{name = \"{n}\", max = 1}},"))
        .collect();
    let text = format!(
        "applications = [{{id = \"a\", policies = [\"p\"]}}]\n\
         policies = [{{name = \"p\", rules = [{rules}]}}]"
    );
    let found = problems(&text);
    assert!(
        found[0].contains("9 rules together, but an init has at most 8"),
        "{found:?}"
    );
    let applications: String = (0..17)
        .map(|n| format!("{{id = \"{n}\", policies = [\"p\"]}},"))
        .collect();
    let text = |counts: &str| {
        format!(
            "applications = [{applications}]\n\
             policies = [{{name = \"p\", counts = \"{counts}\", rules = [{{name = \"r\", max = 1}}]}}]"
        )
    };
    let found = problems(&text("applications"));
    assert!(found[0].contains("more than 16 applications"), "{found:?}");
    assert!(Policies::parse(&text("account")).is_ok());
}
