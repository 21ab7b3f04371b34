// Package office builds one office from its configuration, and starts, reloads, drains
// and stops it. It is the only package that sees all others.
//
// An Office wires the roles: REGISTER, office cards and supersedes go to the registrar, calls to the
// softswitch, both ask routesrv, records go through billing, and all of that runs on the office's one
// loop. A House is the offices of one process with the control socket that commands use and the
// pages for people.
package office
