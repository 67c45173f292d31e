// Package crash tries to break the promises of a durable acknowledgement and
// of versions that are never reused: it runs the real cloud as a process, lets
// many updaters write over MQTT and REST at once, kills the process again and
// again with SIGKILL, sometimes while it is still starting, and checks after
// every restart and at the end that
//
//   - every acknowledged write (a PUBACK, an accepted message, a 200) is there,
//     unless the same updater wrote the same key again later;
//   - no value is there that was refused or never written;
//   - no version of a shadow was given to two different writes, no write got two
//     versions, and none went down;
//   - versions nobody saw are no more than the writes whose fate is unknown.
//
// What it kills is the process, not the machine: a loss that only a power cut
// shows is beyond it. It never writes to the data directory itself.
package crash
