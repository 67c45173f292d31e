// Package care looks after a store as a whole: it writes everything into a
// stream and reads it back, into a store of the same or another kind, and checks
// every record.
//
// It promises that what it writes can be read back to the bit, that a damaged
// line or record is named and never passed on, and that a restored store hands
// out no version that the lost one may have handed out already.
//
// It holds one page of records at a time, and knows stores by their port alone.
package care
