use miid_protocol::service::{Binding, Risk};
use proptest::prelude::*;

use super::*;
use crate::request::tests::{T, id, sample, session, step_up};

fn profile() -> Profile {
    let mut profile = Profile::default();
    for (name, value) in [("name", "Alice Kim"), ("email", "alice@example.com")] {
        profile.set(name, value).expect("set");
    }
    profile
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn rule(kind: Kind) -> Rule {
    let new = NewRule {
        kind,
        service_name: "Demo Shop".into(),
        scopes: names(&["profile", "email"]),
        claims: names(&["name", "email"]),
        withheld: BTreeSet::new(),
        days: 30,
    };
    new.made(T).expect("a rule")
}

/// A linked request for what the rule allows and the profile has, after its `change`.
fn request(change: impl FnOnce(&mut miid_protocol::request::SignInRequest)) -> Request {
    let mut says = sample(1);
    says.binding = Binding::Linked;
    says.claims = vec!["name".into(), "email".into()];
    change(&mut says);
    Request::read(id(1), &says.to_text()).expect("showable")
}

fn verdict(request: &Request, rule: Option<&Rule>, signed_in_before: bool, now: Timestamp) -> Verdict {
    decide(request, Circumstances { rule, signed_in_before, profile: &profile(), now })
}

fn later(s: i64) -> Timestamp {
    T.plus(Lifetime::from_secs(s))
}

#[test]
fn exactly_what_was_allowed_is_answered_alone() {
    let Verdict::ApproveAlone(approval) = verdict(&request(|_| ()), Some(&rule(Kind::OneClick)), true, T)
    else {
        panic!("asked")
    };
    assert_eq!(approval.share, names(&["name", "email"]));
    // The values are the profile's, the scopes are those asked for, and there is no number.
    assert_eq!((approval.values.len(), approval.scopes, approval.match_code), (0, None, None));
    let fewer = request(|says| {
        says.scopes = vec!["email".into()];
        says.claims = vec![];
    });
    assert!(matches!(verdict(&fewer, Some(&rule(Kind::OneClick)), true, T), Verdict::ApproveAlone(_)));
}

#[test]
fn what_was_left_out_when_the_rule_was_made_may_be_asked_for_and_stays_out() {
    let mut new = as_new(rule(Kind::OneClick));
    new.claims = names(&["name"]);
    // Shared and withheld at once is shared; what the profile does not know is no obstacle where it is withheld.
    new.withheld = names(&["name", "email", "phone"]);
    let rule = new.made(T).expect("a rule");
    let asked = request(|says| says.claims = vec!["name".into(), "email".into(), "phone".into()]);
    let Verdict::ApproveAlone(approval) = verdict(&asked, Some(&rule), true, T) else { panic!("asked") };
    assert_eq!(approval.share, names(&["name"]));
    let more = request(|says| says.claims = vec!["name".into(), "email".into(), "age".into()]);
    assert_eq!(verdict(&more, Some(&rule), true, T), Verdict::Prefill(names(&["name"])));
}

#[test]
fn anything_else_asks() {
    let one_click = rule(Kind::OneClick);
    let asks = |request: &Request, rule: Option<&Rule>, before, now| {
        assert!(!matches!(verdict(request, rule, before, now), Verdict::ApproveAlone(_)));
    };
    asks(&request(|_| ()), None, true, T);
    asks(&request(|_| ()), Some(&rule(Kind::Prefill)), true, T);
    asks(&request(|_| ()), Some(&one_click), false, T);
    asks(&request(|says| says.binding = Binding::Addressed), Some(&one_click), true, T);
    asks(&request(|says| *says = step_up(1)), Some(&one_click), true, T);
    asks(&request(|says| says.scopes.push("orders".into())), Some(&one_click), true, T);
    asks(&request(|says| says.claims.push("age".into())), Some(&one_click), true, T);
    let mut wider = one_click.clone();
    wider.claims.insert("age".into());
    // Allowed, but the profile does not say it.
    asks(&request(|says| says.claims.push("age".into())), Some(&wider), true, T);
    // At its end, after it, and before it began.
    let valid_long = request(|says| says.expires_at = later(90 * 86_400));
    assert!(matches!(
        verdict(&valid_long, Some(&one_click), true, later(30 * 86_400 - 1)),
        Verdict::ApproveAlone(_)
    ));
    for s in [30 * 86_400, 31 * 86_400, -1] {
        assert_eq!(verdict(&valid_long, Some(&one_click), true, later(s)), Verdict::Ask);
    }
    // A request that has run out.
    asks(&request(|_| ()), Some(&one_click), true, later(301));
}

#[test]
fn an_addressed_request_is_filled_in_and_no_more() {
    for kind in [Kind::Prefill, Kind::OneClick] {
        let mut rule = rule(kind);
        rule.claims = names(&["email", "age", "phone"]);
        let addressed = request(|says| {
            says.binding = Binding::Addressed;
            says.claims = vec!["name".into(), "email".into(), "age".into()];
        });
        assert_eq!(verdict(&addressed, Some(&rule), true, T), Verdict::Prefill(names(&["email"])));
    }
}

#[test]
fn rules_and_mutes_are_bounded() {
    let new = |days| NewRule { days, ..as_new(rule(Kind::Prefill)) }.made(T).map(|rule| rule.until);
    assert_eq!(new(0), Err(RuleError::Days));
    assert_eq!(new(366), Err(RuleError::Days));
    assert_eq!(new(u32::MAX), Err(RuleError::Days));
    assert_eq!(new(1), Ok(later(86_400)));
    let bad = |change: &dyn Fn(&mut NewRule)| {
        let mut new = as_new(rule(Kind::OneClick));
        change(&mut new);
        new.made(T).expect_err("refused")
    };
    assert_eq!(bad(&|new| new.claims = names(&["Name"])), RuleError::Names);
    assert_eq!(bad(&|new| new.withheld = names(&["Name"])), RuleError::Names);
    assert_eq!(bad(&|new| new.scopes = (0..21).map(|i| format!("s{i}")).collect()), RuleError::Names);
    assert_eq!(bad(&|new| new.service_name = "\u{202e}pohS".into()), RuleError::ServiceName);
    for (minutes, good) in [(0, false), (1, true), (MAX_MUTE_MINUTES, true), (MAX_MUTE_MINUTES + 1, false)] {
        assert_eq!(Mute::made("Demo Shop", minutes, T).is_ok(), good, "{minutes}");
    }
    let mute = Mute::made("Demo Shop", 1, T).expect("a mute");
    assert!(mute.holds(later(59)) && !mute.holds(later(60)));
}

fn as_new(rule: Rule) -> NewRule {
    let Rule { kind, service_name, scopes, claims, withheld, .. } = rule;
    NewRule { kind, service_name, scopes, claims, withheld, days: 30 }
}

fn some_names() -> impl Strategy<Value = BTreeSet<String>> {
    let known = prop::sample::select(vec!["name", "email", "age", "profile", "orders"]);
    prop::collection::btree_set(known.prop_map(str::to_owned), 0..5)
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let kind = prop_oneof![Just(Kind::OneClick), Just(Kind::Prefill)];
    (kind, some_names(), some_names(), some_names(), -400i64..400, -400i64..400).prop_map(
        |(kind, scopes, claims, withheld, from, to)| Rule {
            kind,
            service_name: "Demo Shop".into(),
            scopes,
            claims,
            withheld,
            made_at: later(from),
            until: later(to),
            used: 0,
            last_used_at: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_the_rule_an_addressed_or_step_up_request_is_never_answered_alone(
        rule in prop::option::of(some_rule()),
        scopes in some_names(),
        claims in some_names(),
        (addressed, is_step_up, before) in (any::<bool>(), any::<bool>(), any::<bool>()),
        now in -400i64..400,
    ) {
        let request = request(|says| {
            says.binding = if addressed { Binding::Addressed } else { Binding::Linked };
            says.scopes = scopes.iter().cloned().collect();
            if is_step_up {
                (says.risk, says.step_up_session) = (Risk::StepUp, Some(session()));
                says.claims.clear();
            } else {
                says.claims = claims.iter().cloned().collect();
            }
        });
        let verdict = verdict(&request, rule.as_ref(), before, later(now));
        if let Verdict::ApproveAlone(approval) = verdict {
            let rule = rule.expect("a rule");
            prop_assert!(!addressed && !is_step_up && before);
            prop_assert!(rule.kind == Kind::OneClick && rule.made_at <= later(now) && later(now) < rule.until);
            let agreed: BTreeSet<String> = rule.claims.union(&rule.withheld).cloned().collect();
            prop_assert!(scopes.is_subset(&rule.scopes) && claims.is_subset(&agreed));
            prop_assert!(approval.match_code.is_none() && approval.values.is_empty());
            // What it shares is what was asked and ticked, all of it from the profile: it can be signed as it is.
            let ticked: BTreeSet<String> = claims.intersection(&rule.claims).cloned().collect();
            prop_assert_eq!(&approval.share, &ticked);
            prop_assert!(crate::policy::grant(&request, &profile(), &approval).is_ok());
        } else if let Verdict::Prefill(share) = verdict {
            let rule = rule.expect("a rule");
            prop_assert!(share.is_subset(&claims) && share.is_subset(&rule.claims));
        }
    }
}
