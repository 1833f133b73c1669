//! The APIs of Adobe's Concurrency Monitoring at an edge, beside backends over AMQP.

mod documented;
mod ended;
mod partitions;
mod refused;
mod reload;
mod rules;
mod story;
mod tenants;

use axum::http::Method;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use streamwatch::client::StreamId;

use crate::fixture::{Edge, Folder, Installation, Response};

/// An edge with two files: applications of the tenant `acme`, and their policies.
pub struct Adobe {
    pub edge: Edge,
    files: Folder,
}

impl Adobe {
    /// Starts an edge for these applications, and waits until it is ready.
    pub async fn start(
        installation: &Installation<'_>,
        applications: &[&str],
        policies: &str,
    ) -> Self {
        let files = Folder::new();
        let tables = applications
            .iter()
            .map(|id| format!("[[applications]]\nid = \"{id}\"\ntenant = \"acme\"\n"));
        let access = files.write("access.toml", &tables.collect::<String>());
        let policies = files.write("policies.toml", policies);
        let arguments = ["--access", &access, "--policies", &policies];
        let mut edge = Edge::start(installation, &arguments);
        edge.ready().await;
        Self { edge, files }
    }

    /// Changes the policy file.
    pub fn write_policies(&self, policies: &str) {
        self.files.write("policies.toml", policies);
    }

    pub fn remove_policies(&self) {
        std::fs::remove_file(self.files.path("policies.toml")).expect("it exists");
    }

    pub fn application<'a>(&'a self, id: &'a str) -> Application<'a> {
        Application {
            edge: &self.edge,
            id,
        }
    }
}

/// An application that uses version 2 of the API, for the accounts of the provider `adobe`.
#[derive(Clone, Copy)]
pub struct Application<'a> {
    edge: &'a Edge,
    id: &'a str,
}

impl Application<'_> {
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        form: &str,
    ) -> Response {
        let credentials = STANDARD.encode(format!("{}:", self.id));
        let credentials = format!("Basic {credentials}");
        let mut all = vec![("authorization", credentials.as_str())];
        if !form.is_empty() {
            all.push(("content-type", "application/x-www-form-urlencoded"));
        }
        all.extend(headers);
        self.edge.send(method, path, &all, form).await
    }

    /// Opens a session.
    pub async fn open(&self, subject: &str, form: &str) -> Response {
        let path = format!("/v2/sessions/adobe/{subject}");
        self.send(Method::POST, &path, &[], form).await
    }

    /// Opens a session that terminates others.
    pub async fn open_instead(&self, subject: &str, codes: &str, form: &str) -> Response {
        let path = format!("/v2/sessions/adobe/{subject}");
        self.send(Method::POST, &path, &[("X-Terminate", codes)], form)
            .await
    }

    pub async fn heartbeat(&self, subject: &str, session: &str) -> Response {
        let path = format!("/v2/sessions/adobe/{subject}/{session}");
        self.send(Method::POST, &path, &[], "").await
    }

    pub async fn delete(&self, subject: &str, session: &str) -> Response {
        let path = format!("/v2/sessions/adobe/{subject}/{session}");
        self.send(Method::DELETE, &path, &[], "").await
    }

    pub async fn running(&self, subject: &str) -> Response {
        let path = format!("/v2/runningStreams/adobe/{subject}");
        self.send(Method::GET, &path, &[], "").await
    }

    pub async fn metadata(&self) -> Response {
        self.send(Method::GET, "/v2/metadata", &[], "").await
    }
}

/// The session that a response has opened.
pub fn session(response: &Response) -> String {
    assert_eq!(response.status, 202, "{response:?}");
    response.header("location").expect("a location").to_owned()
}

/// The stream of a session.
pub fn stream(session: &str) -> StreamId {
    session.parse().expect("a UUID")
}

/// The seconds from `Date` to `Expires`.
pub fn expires_in(response: &Response) -> Option<i64> {
    let at = |name: &str| {
        let date = jiff::fmt::rfc2822::parse(response.header(name)?);
        Some(date.expect("a date").timestamp().as_second())
    };
    Some(at("expires")? - at("date")?)
}

/// The first advice of an evaluation result.
pub fn advice(response: &Response) -> &Value {
    &response.json["associatedAdvice"][0]
}

/// The sessions in the conflicts of each advice, sorted.
pub fn conflicts(response: &Response) -> Vec<(String, Vec<String>)> {
    assert_eq!(response.status, 409, "{response:?}");
    let advices = response.json["associatedAdvice"]
        .as_array()
        .expect("advices");
    let of = |advice: &Value| {
        let conflicts = advice["conflicts"].as_object().expect("conflicts");
        let sessions = conflicts
            .values()
            .flat_map(|list| list.as_array().expect("sessions"));
        let mut codes: Vec<_> = sessions
            .map(|session| text(&session["terminationCode"]))
            .collect();
        codes.sort();
        (text(&advice["ruleName"]), codes)
    };
    advices.iter().map(of).collect()
}

/// The termination code of a session.
pub fn code(session: &str) -> String {
    session[session.len() - 8..].to_owned()
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
