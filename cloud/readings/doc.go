// Package readings is the cloud's side of collected readings: it takes the batches
// that nodes tell, has them stored, and answers what there is, what is missing, and
// how well collection goes.
//
// It promises that a batch is accepted only once it is durable, that one which is
// rejected has left nothing behind, that what is told again changes nothing, and
// that what is expected of a day follows from what was desired on it, so that meters
// which never answered count.
//
// It never decides what is read: that is the policy's. It keeps nothing itself: a
// Store or a Sink does.
package readings
