//! The paths of one host: a tree of segments, and what is matched by expression.

use std::collections::HashMap;

use regex::RegexSet;

use crate::config::{self, path};

/// Routes by path; routes are numbers here.
#[derive(Debug, Default)]
pub(super) struct PathTable {
    root: Node,
    patterns: Vec<String>,
    by_pattern: Vec<usize>,
    set: Option<RegexSet>,
}

/// One segment's place in the tree.
#[derive(Debug, Default)]
struct Node {
    /// Routes for exactly this path.
    exact: Vec<usize>,
    /// Routes for this path and all below.
    prefix: Vec<usize>,
    below: HashMap<Box<str>, Node>,
}

impl PathTable {
    /// Adds a route.
    pub(super) fn add(&mut self, index: usize, route: &config::route::Route) -> Result<(), regex::Error> {
        if let Some(pattern) = &route.path_regex {
            path::anchored(pattern)?;
            self.patterns.push(path::anchored_pattern(pattern));
            self.by_pattern.push(index);
        } else if let Some(exact) = &route.path_exact {
            self.root.at(exact).exact.push(index);
        } else if let Some(prefix) = route.prefix() {
            self.root.at(prefix.trim_end_matches('/')).prefix.push(index);
        }
        Ok(())
    }

    /// Called once after the last `add`.
    pub(super) fn finish(&mut self, has_methods: impl Fn(usize) -> bool + Copy) -> Result<(), regex::Error> {
        self.root.prefer(has_methods);
        if !self.patterns.is_empty() {
            self.set = Some(RegexSet::new(&self.patterns)?);
        }
        Ok(())
    }

    /// The route for a canonical path.
    pub(super) fn find(&self, path: &str, takes: impl Fn(usize) -> bool + Copy) -> Option<usize> {
        let segments = path.strip_prefix('/').filter(|rest| !rest.is_empty());
        self.root
            .find(segments, true, takes)
            .or_else(|| self.by_expression(path, takes))
            .or_else(|| first(&self.root.prefix, takes))
    }

    fn by_expression(&self, path: &str, takes: impl Fn(usize) -> bool) -> Option<usize> {
        let matches = self.set.as_ref()?.matches(path);
        matches.iter().filter_map(|pattern| self.by_pattern.get(pattern).copied()).find(|index| takes(*index))
    }
}

impl Node {
    /// The node of a path, made when missing. "/a/" and "/a" are two: the first has an empty last segment.
    fn at(&mut self, path: &str) -> &mut Self {
        match path.strip_prefix('/').filter(|rest| !rest.is_empty()) {
            None => self,
            Some(rest) => rest.split('/').fold(self, |node, segment| node.below.entry(segment.into()).or_default()),
        }
    }

    /// Sorts routes that name methods before those that take all.
    fn prefer(&mut self, has_methods: impl Fn(usize) -> bool + Copy) {
        self.exact.sort_by_key(|index| !has_methods(*index));
        self.prefix.sort_by_key(|index| !has_methods(*index));
        for node in self.below.values_mut() {
            node.prefer(has_methods);
        }
    }

    /// The deepest match at or below this node; `rest` are the segments still to walk, `None` at the path's end. The
    /// root's own prefix is left to the caller, who asks the expressions before. As deep as the configuration's paths.
    fn find(&self, rest: Option<&str>, is_root: bool, takes: impl Fn(usize) -> bool + Copy) -> Option<usize> {
        let deeper = match rest {
            None => first(&self.exact, takes),
            Some(_) if self.below.is_empty() => None,
            Some(rest) => {
                let (segment, rest) =
                    rest.split_once('/').map_or((rest, None), |(segment, rest)| (segment, Some(rest)));
                self.below.get(segment).and_then(|node| node.find(rest, false, takes))
            }
        };
        deeper.or_else(|| if is_root { None } else { first(&self.prefix, takes) })
    }
}

fn first(routes: &[usize], takes: impl Fn(usize) -> bool) -> Option<usize> {
    routes.iter().copied().find(|index| takes(*index))
}
