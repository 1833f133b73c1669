//! Tests of callers and their credentials.
