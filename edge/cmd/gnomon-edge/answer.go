package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/local"
)

// answerAgain is how long it takes to try again where the socket cannot be made.
const answerAgain = 10 * time.Second

// answer answers on the local socket until ctx ends. On a disk that cannot be
// written nobody on the node can ask how it is, but that is no reason to end.
func (a *agent) answer(ctx context.Context) error {
	for {
		socket, err := local.Listen(a.cfg.Data)
		if err == nil {
			return a.local().Serve(ctx, socket)
		}
		if !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return err
		}
		a.log.Error("no socket: nobody on this node can ask how it is", "error", err, "again", answerAgain.String())
		timer := time.NewTimer(answerAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
