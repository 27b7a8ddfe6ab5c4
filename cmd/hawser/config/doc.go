// Package config is everything that can be set about a node: one struct, Config, whose tags say of each field its key, its
// environment variables, its default and its meaning (design.md 8; contract operations.md 8 for the names that Ditto has too).
//
// A value comes from the strongest of: flag (-D key=value), environment variable, YAML file, default. What is unknown or
// unreadable is a Problem that names the key and where it was set, and never shows a secret; a node does not start with one.
//
// Read first: Config (config.go) for what there is, Load (load.go) for where it comes from, rules.go for what must fit together.
package config
