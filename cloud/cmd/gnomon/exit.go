package main

import (
	"context"
	"errors"

	"gnomon/cloud/cmd/gnomon/internal/client"
)

// The exit statuses.
const (
	exitOK          = 0
	exitFailure     = 1 // or a difference
	exitUsage       = 2
	exitNotFound    = 3
	exitForbidden   = 4
	exitConflict    = 5
	exitTimeout     = 6
	exitInterrupted = 130
)

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// silentError ends the command with its status and says nothing: all has been said.
type silentError struct{ code int }

func (e *silentError) Error() string { return "" }

// errTimeout ends a wait that took too long.
var errTimeout = errors.New("gave up waiting")

// exitCode is the one mapping from errors to statuses.
func exitCode(ctx context.Context, err error) int {
	var usage *usageError
	var silent *silentError
	var answer *client.Error
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &silent):
		return silent.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.As(err, &answer):
		switch answer.Status {
		case 404:
			return exitNotFound
		case 401, 403:
			return exitForbidden
		case 409, 412:
			return exitConflict
		}
	}
	return exitFailure
}
