//! Whether two symptoms are of the same bug. The one place where that is asked.

pub(crate) use crate::sameness::same;
