// Package readings keeps what a node collects on its own disk, and brings it to the
// cloud: rows go into segments, files that are only appended to, and up in batches
// of what the cloud doesn't have yet.
//
// It promises that
//
//   - rows are on disk when Put returns without an error, and survive a power cut
//     at any moment; what is damaged is set aside, and the rest is read;
//   - a value is kept and told once, whatever comes again; only a missing one is
//     replaced by a good one;
//   - what the cloud hasn't acknowledged is told again until it has, and is dropped
//     only where there is no room: of what is kept the oldest that the cloud has
//     goes first, then the oldest, and that is counted and said;
//   - where nothing can be written, rows are held in memory, as many as maxHeld
//     takes, told from there, and written as soon as the disk lets them; on a full
//     disk what is more than that is written in the place of the oldest, as long as
//     others leave it the room;
//   - memory doesn't grow with what is kept: there are bits for each value of the
//     days that are kept, within maxIndex.
//
// Fresh readings go up first, then what has waited longer, the oldest of it first.
// It knows no driver, and nothing of MQTT.
package readings
