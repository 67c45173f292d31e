// Package redis is the store that several clouds share: Redis or Valkey, 7 or
// later, alone, behind Sentinel or as a Cluster. Documents are merged by whoever
// writes them; the server only compares and sets, in a script. The usual change,
// of one record that is there, shares its call with others that came at the same
// time; any other has a call of its own.
//
// All keys of a thing carry its name as the hash tag, so that a change set lives
// in one slot and is written whole or not at all:
//
//	gnomon:{THING}:SHADOW   a record: its Sum, the token of its write, a reservation, its bytes
//	gnomon:{THING}          sorted set of the shadows that THING has records of
//	gnomon:things:{idx:NN}  sorted set of things, one of 64 buckets
//	gnomon:format           the data format's number
//
// Nothing ever walks the keyspace. A thing's own set is written in the script
// that makes the record, so it is exact. The buckets lie in other slots, where a
// script can't reach: a thing is entered there, and that is acknowledged, before
// its record is written. So a bucket may name a thing whose first write failed,
// which readers skip, and entries are never removed, because a reader can't tell
// a failed write from one under way. A bucket that lost an entry (its master
// failed before the entry was replicated) gets it back when a replica next
// writes to the thing and hasn't entered it for ten minutes.
//
// What an acknowledgement is worth is for the server's configuration to say:
//
//   - appendonly yes, appendfsync always: it is on the disk of the master. A
//     restart or a power cut of the server loses nothing acknowledged.
//   - appendfsync everysec: a killed server loses nothing, since its kernel has
//     the bytes; a power cut loses up to two seconds.
//   - no append-only file: a restart loses everything since the last snapshot.
//   - in all of them a failover to a replica loses what the old master
//     acknowledged and had not sent yet, because replication is asynchronous.
//     min-replicas-to-write and min-replicas-max-lag bound how much that can be.
//   - a maxmemory policy other than noeviction discards shadows at will.
//
// Open says in the log which of these hold. After a loss the versions that were
// lost are given again; whoever built on them is refused with ErrConflict.
//
// It never merges, never expires anything, and never reads from a replica.
package redis
