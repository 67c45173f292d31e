// Package failpoint names the places where a test may make the agent or a shim
// fail: be killed, meet an error, or take its time.
//
// It promises that
//
//   - where nothing is armed a point costs one atomic load;
//   - nothing is armed but by Arm, which programs call with the variable Env, so
//     that an agent started as its manual says has no way to get there;
//   - every point is in All, which the fault matrix goes through one by one.
//
// It never decides what a failure means: whoever hits a point treats its error
// like any other of that place.
package failpoint
