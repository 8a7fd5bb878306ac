// Command runc-wrapper is an OCI runtime that hands on to runc what this machine is allowed to do.
//
// On a machine whose root lacks CAP_SYS_RESOURCE the kernel refuses what Docker writes into every privileged container:
// that capability itself, a lowered OOM score, and limits above the own hard limits. The container then fails to start,
// although it needs none of it. So this program edits the bundle (create, run, restore) or the process file (exec), and
// then becomes runc. On a machine that has the capability it changes nothing.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Debian has runc in /usr/sbin, which is not on everybody's PATH.
const runcFallback = "/usr/sbin/runc"

func main() {
	allowed := currentAllowance()
	if err := adapt(os.Args[1:], allowed); err != nil {
		fmt.Fprintln(os.Stderr, "runc-wrapper:", err)
		os.Exit(1)
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		runc = runcFallback
	}
	err = syscall.Exec(runc, append([]string{"runc"}, os.Args[1:]...), os.Environ())
	fmt.Fprintf(os.Stderr, "runc-wrapper: %s: %v\n", runc, err)
	os.Exit(1)
}

// adapt edits the file that this call of runc is going to read, if it reads one.
func adapt(arguments []string, allowed allowance) error {
	if allowed.everything {
		return nil
	}
	command := subcommand(arguments)
	switch command {
	case "create", "run", "restore":
		bundle := flagValue(arguments, "bundle", "b")
		if bundle == "" {
			bundle = "."
		}
		return edit(filepath.Join(bundle, "config.json"), func(document map[string]any) {
			if process, ok := document["process"].(map[string]any); ok {
				allowed.limit(process)
			}
		})
	case "exec":
		if file := flagValue(arguments, "process", "p"); file != "" {
			return edit(file, allowed.limit)
		}
	}
	return nil
}

// Flags of runc itself, before the subcommand, that take a value as the next argument.
var globalValueFlags = []string{"--root", "--log", "--log-format", "--criu", "--rootless"}

// subcommand is the first argument that is neither a global flag nor the value of one.
func subcommand(arguments []string) string {
	for index := 0; index < len(arguments); index++ {
		switch {
		case slices.Contains(globalValueFlags, arguments[index]):
			index++
		case !strings.HasPrefix(arguments[index], "-"):
			return arguments[index]
		}
	}
	return ""
}

// flagValue finds --long VALUE, --long=VALUE, -short VALUE and -short=VALUE.
func flagValue(arguments []string, long, short string) string {
	for index, argument := range arguments {
		name, value, attached := strings.Cut(argument, "=")
		if name != "--"+long && name != "-"+short {
			continue
		}
		if attached {
			return value
		}
		if index+1 < len(arguments) {
			return arguments[index+1]
		}
	}
	return ""
}

// edit rewrites a JSON file in place; numbers keep their digits.
func edit(path string, change func(map[string]any)) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	change(document)
	text, err = json.Marshal(document)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
