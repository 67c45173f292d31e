// Package conformance holds a shadow service to the contract of the AWS IoT
// Device Shadow service: a table of cases, each naming the line of the contract
// it comes from, and what runs them over MQTT 3.1.1, MQTT 5 and HTTP while an
// observer notes what is published.
//
// It promises that every case is run alone, on a thing of its own, so that the
// cases may be run against any store and any address, twice, and side by side.
// Answers are compared whole: a member too many is an error, but for the detail
// of a rejection, which is ours. What AWS does not say is marked Unverified and
// asserts what Gnomon does.
//
// # The lines
//
//	 1  names                          12  "state": null
//	 2  size of the state              13  missing and invalid nodes
//	 3  depth                          14  version conflicts
//	 4  client token, requests at once 15  every accepted update counts
//	 5  topics, bodies of get, delete  16  what a delta has
//	 6  what HTTP writes publish       17  when a delta is published
//	 7  accepted and delta agree       18  get
//	 8  create                         19  documents
//	 9  merge, null, arrays            20  delete and make again
//	10  empty objects are values       21  what is not there
//	11  sections come and go
//
// # What AWS does not say
//
// Gnomon decided, and the cases marked [U] hold it to this:
//
//   - desired and reported are the first level of nesting, empty containers none;
//   - a clientToken that is no string is invalid, null is none;
//   - the version in a get is not looked at, that in a delete is;
//   - a nested object emptied by nulls stays, as {};
//   - a shadow that never was has version 0; a deleted one V+1, so that it is made
//     again as V+2, without looking at how long ago that was;
//   - an accepted answer has a timestamp for members it removed, too;
//   - the first update/documents has no previous;
//   - what HTTP changes is answered on the MQTT topics as well, what it only reads
//     or fails at is not.
//
// It never looks into the service and never depends on how fast it is: what is
// not to be published is waited for no longer than a message that comes after it.
package conformance
