//! The access file, in TOML.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    str::FromStr,
};

use axum::http::HeaderName;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::{
    AccessRules,
    applications::{ApplicationCredentials, Applications},
    claims::Issuer,
    keys::{self, VerificationKey},
    proxy::{IdentityHeaders, Proxy, TenantOf},
    ring_provider,
    secret::{Digest, Secret},
    verified::VerifiedTokens,
};
use crate::{client::Tenant, edge::FileProblems};

/// The tables of the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tables {
    pub(super) applications: Vec<ApplicationTable>,
    pub(super) tokens: Vec<TokensTable>,
    pub(super) proxy: Option<ProxyTable>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplicationTable {
    id: String,
    tenant: String,
    secret: Option<Secret>,
    pub(super) secret_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TokensTable {
    tenant: Option<String>,
    tenant_claim: Option<String>,
    account_claim: Option<String>,
    any_account: bool,
    application_claim: Option<String>,
    issuer: Option<OneOrMore>,
    audience: Option<OneOrMore>,
    leeway_seconds: Option<u64>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) jwks_url: Option<String>,
    pub(super) keys: Vec<KeyTable>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyTable {
    id: Option<String>,
    algorithm: String,
    secret: Option<Secret>,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) pem_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyTable {
    addresses: Vec<String>,
    tenant: Option<String>,
    tenant_header: Option<String>,
    account_header: Option<String>,
    #[serde(default)]
    any_account: bool,
    client_header: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

/// An access file, and the files that it names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AccessFile {
    pub(super) file: PathBuf,
    pub(super) tables: Tables,
    pub(super) files: BTreeMap<PathBuf, Secret>,
}

/// The key sets that were read from URLs.
pub(super) type Fetched = BTreeMap<String, String>;

impl AccessFile {
    /// Checks everything, and returns the rules.
    pub(super) fn rules(&self, fetched: &Fetched) -> Result<AccessRules, FileProblems> {
        ring_provider::install();
        let Tables {
            applications,
            tokens,
            proxy,
        } = &self.tables;
        let mut known = HashMap::new();
        for table in applications {
            let place = format!("application {:?}", table.id);
            let application = self.application(table);
            let application = application.map_err(|problem| FileProblems::of(&place, problem))?;
            if known.insert(table.id.clone(), application).is_some() {
                return Err(FileProblems::of(
                    place,
                    "the id is used twice: remove one of the applications",
                ));
            }
        }
        let issuers = tokens.iter().enumerate().map(|(n, table)| {
            let place = format!("tokens, number {}", n + 1);
            self.issuer(table, fetched)
                .map_err(|problem| FileProblems::of(place, problem))
        });
        let proxy = proxy.as_ref().map(|table| {
            table
                .check()
                .map_err(|problem| FileProblems::of("proxy", problem))
        });
        let rules = AccessRules {
            everyone: None,
            applications: Applications(known),
            issuers: issuers.collect::<Result<_, _>>()?,
            proxy: proxy.transpose()?,
            verified: VerifiedTokens::default(),
        };
        let by_proxy = rules.proxy.as_ref().is_some_and(|it| it.identity.is_some());
        if rules.applications.0.is_empty() && rules.issuers.is_empty() && !by_proxy {
            let problem = "the file identifies no caller: add applications, tokens or a proxy";
            return Err(FileProblems::of(self.file.display(), problem));
        }
        Ok(rules)
    }

    fn content(&self, file: &Path) -> Result<&str, String> {
        let content = self.files.get(file).map(|secret| secret.0.as_str());
        content.ok_or_else(|| format!("{} was not read", file.display()))
    }

    /// The secret in the table or in a file. A newline at the end of the file is not part of it.
    fn secret<'s>(
        &'s self,
        secret: Option<&'s Secret>,
        file: Option<&PathBuf>,
    ) -> Result<Option<&'s str>, String> {
        match (secret, file) {
            (Some(_), Some(_)) => Err("give secret or secret_file, not both".to_owned()),
            (None, None) => Ok(None),
            (Some(Secret(secret)), None) => Ok(Some(secret.as_str())),
            (None, Some(file)) => Ok(Some(self.content(file)?.trim_end_matches(['\r', '\n']))),
        }
        .and_then(|secret| match secret {
            Some("") => Err("the secret is empty".to_owned()),
            secret => Ok(secret),
        })
    }

    fn application(&self, table: &ApplicationTable) -> Result<ApplicationCredentials, String> {
        if table.id.is_empty() || table.id.contains(':') {
            return Err("an id must not be empty or contain a colon".to_owned());
        }
        let secret = self.secret(table.secret.as_ref(), table.secret_file.as_ref())?;
        Ok(ApplicationCredentials {
            tenant: tenant(&table.tenant)?,
            secret: Digest::of(secret.unwrap_or_default()),
        })
    }

    fn issuer(&self, table: &TokensTable, fetched: &Fetched) -> Result<Issuer, String> {
        let mut all = Vec::new();
        for key in &table.keys {
            all.push(self.key(key)?);
        }
        if let Some(file) = &table.jwks_file {
            let keys = keys::of_set(self.content(file)?, true);
            all.extend(keys.map_err(|problem| format!("{}: {problem}", file.display()))?);
        }
        let read = table.jwks_url.as_ref().map(|url| fetched.get(url));
        if let Some(Some(set)) = read {
            // A shared secret does not belong on the web.
            all.extend(keys::of_set(set, false)?);
        }
        if all.is_empty() && read.is_none() {
            return Err("the table needs keys, a jwks_file or a jwks_url".to_owned());
        }
        let account_claim = match (&table.account_claim, table.any_account) {
            (Some(_), true) => {
                return Err("give account_claim or any_account, not both".to_owned());
            }
            (None, true) => None,
            (claim, false) => Some(claim.clone().unwrap_or_else(|| "sub".to_owned())),
        };
        Ok(Issuer {
            keys: all,
            is_complete: read.is_none_or(|set| set.is_some()),
            validation: table.validation()?,
            tenant: tenant_of(
                table.tenant.as_deref(),
                table.tenant_claim.as_deref(),
                "claim",
            )?,
            account_claim,
            application_claim: table.application_claim.clone(),
        })
    }

    fn key(&self, table: &KeyTable) -> Result<VerificationKey, String> {
        let (id, name) = (table.id.clone(), table.algorithm.as_str());
        let secret = self.secret(table.secret.as_ref(), table.secret_file.as_ref())?;
        match (secret, &table.pem_file) {
            (Some(secret), None) => VerificationKey::of_secret(id, name, secret),
            (None, Some(file)) => VerificationKey::of_pem(id, name, self.content(file)?),
            _ => Err("a key needs either a secret, a secret_file or a pem_file".to_owned()),
        }
    }
}

impl TokensTable {
    fn validation(&self) -> Result<Validation, String> {
        // The algorithm is set for each key.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_nbf = true;
        validation.leeway = self.leeway_seconds.unwrap_or(30);
        if validation.leeway > 300 {
            return Err("leeway_seconds must be at most 300".to_owned());
        }
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(issuer.all());
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(audience.all());
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Ok(validation)
    }
}

impl ProxyTable {
    fn check(&self) -> Result<Proxy, String> {
        if self.addresses.is_empty() {
            return Err("addresses: must have at least one address".to_owned());
        }
        let header = |name: Option<&String>, default: &str| {
            let name = name.map_or(default, String::as_str);
            HeaderName::from_str(name).map_err(|_| "the name of a header is not valid".to_owned())
        };
        let is_identity = self.tenant.is_some() || self.tenant_header.is_some();
        let identity = is_identity.then(|| {
            let fixed = self.tenant.as_deref();
            let tenant = match tenant_of(fixed, self.tenant_header.as_deref(), "header")? {
                TenantOf::Fixed(tenant) => TenantOf::Fixed(tenant),
                TenantOf::Named(name) => TenantOf::Named(header(Some(&name), "")?),
            };
            Ok::<_, String>(IdentityHeaders {
                tenant,
                account_header: header(self.account_header.as_ref(), "x-streamwatch-account")?,
                any_account: self.any_account,
            })
        });
        let addresses = self.addresses.iter().map(|text| text.parse());
        let addresses: Result<_, &str> = addresses.collect();
        Ok(Proxy {
            addresses: addresses.map_err(|problem| format!("addresses: each {problem}"))?,
            identity: identity.transpose()?,
            client_header: header(self.client_header.as_ref(), "x-forwarded-for")?,
        })
    }
}

fn tenant(name: &str) -> Result<Tenant, String> {
    Tenant::new(name).map_err(|error| format!("tenant: {error}"))
}

fn tenant_of(
    fixed: Option<&str>,
    named: Option<&str>,
    by: &str,
) -> Result<TenantOf<String>, String> {
    match (fixed, named) {
        (Some(name), None) => Ok(TenantOf::Fixed(tenant(name)?)),
        (None, Some(name)) => Ok(TenantOf::Named(name.to_owned())),
        _ => Err(format!("give either tenant or tenant_{by}")),
    }
}
