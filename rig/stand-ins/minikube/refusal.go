package main

import (
	"fmt"
	"os"
)

// Exit codes. Those below 120 are the real program's; the others are the stand-in's own, for what the real program accepts
// and a lab must not do.
const (
	exitFailure          = 80
	exitTooLittleMemory  = 23
	exitTooFewCores      = 29
	exitDriverAsRoot     = 57
	exitDockerNotUsable  = 59
	exitProfileNotFound  = 85
	exitWrongArguments   = 120
	exitWrongEnvironment = 121
	exitIncompleteCache  = 122
	exitNoBaseImage      = 123
)

// refusal is an error with an exit code and a name, printed the way minikube prints its own.
type refusal struct {
	code    int
	name    string
	message string
}

func (refused refusal) Error() string { return refused.message }

func (refused refusal) report() {
	emit("error", map[string]string{
		"name": refused.name, "message": refused.message, "exitcode": fmt.Sprint(refused.code),
		"advice": "", "issues": "", "url": "",
	})
	fmt.Fprintf(os.Stderr, "minikube (the rig's stand-in): %s: %s\n", refused.name, refused.message)
}

func refuseArguments(format string, values ...any) error {
	return refusal{exitWrongArguments, "STAND_IN_ARGUMENTS", fmt.Sprintf(format, values...)}
}

func refuseEnvironment(format string, values ...any) error {
	return refusal{exitWrongEnvironment, "STAND_IN_ENVIRONMENT", fmt.Sprintf(format, values...)}
}

func refuseCache(format string, values ...any) error {
	return refusal{exitIncompleteCache, "STAND_IN_CACHE", fmt.Sprintf(format, values...)}
}
