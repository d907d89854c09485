//! What Squall's examples and tests share.
