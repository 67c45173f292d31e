// Package upward brings readings to the cloud, and answers it when it asks for a
// meter: it is what the link carries beside shadows.
//
// It promises that
//
//   - what the cloud hasn't said it has is sent again: after a time, after a lost
//     connection, and after a restart. So it may come more than once, and the cloud
//     keeps each value once;
//   - a few batches are on their way at a time, small ones on a slow link, so that
//     no report waits long behind one;
//   - no more bytes a second go out than the budget allows, on average over some
//     seconds;
//   - of a batch that the cloud refuses for good only the part that it can't take is
//     given up, counted, and told in the status;
//   - some meters are read for the cloud at a time, and a request over that is
//     refused at once, by name.
//
// It decides nothing about what is read or kept.
package upward
