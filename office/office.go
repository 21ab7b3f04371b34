// Package office builds one office from its configuration, and starts, reloads, drains
// and stops it. It is the only package that sees all others.
package office
