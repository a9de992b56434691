// Package ctl is govmctl: a client of a machine's QMP monitor for people and
// scripts. It knows nothing of the machine but what the monitor says: names and
// types of arguments come from query-qmp-schema.
//
// A monitor may be slow, broken or hostile. Messages are bounded by qjson's
// limits, waiting by a time limit, and what is shown on a terminal has its
// control characters escaped.
package ctl
