// Package slot is the directory that holds the versions of the agent, and the
// links that say which of them is meant. It is all that an agent and its launcher
// share, on disk:
//
//	DATA/agent/versions/NAME/   gnomon-edge, gnomon-shim, agent.json; never changed once there
//	DATA/agent/current          the version in use; without it the factory's
//	DATA/agent/old              the one before it, to return to
//	DATA/agent/new              the one on trial
//	DATA/agent/broken           the last one that was given up
//	DATA/agent/*.json           what agent and launcher tell each other; each has one writer
//	DATA/agent/crash            the last words of an agent that panicked
//
// It promises that every change of what is to be started is one rename, on disk
// when the call returns: whenever either side dies there is a version to start.
// A damaged record reads as none.
//
// It decides nothing and starts nothing.
package slot
