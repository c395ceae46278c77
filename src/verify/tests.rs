//! Tricky rules, on their own.
