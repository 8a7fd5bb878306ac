package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var poor = allowance{hardLimits: map[string]uint64{"RLIMIT_NOFILE": 20000}}

const privileged = `{"process":{"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]},` +
	`"oomScoreAdj":-500,"rlimits":[{"type":"RLIMIT_NOFILE","hard":1048576,"soft":1024}]},"linux":{"large":18446744073709551615}}`

func adapted(t *testing.T, text string, allowed allowance, arguments ...string) string {
	t.Helper()
	bundle := t.TempDir()
	file := filepath.Join(bundle, "config.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for index, argument := range arguments {
		arguments[index] = strings.NewReplacer("BUNDLE", bundle, "FILE", file).Replace(argument)
	}
	if err := adapt(arguments, allowed); err != nil {
		t.Fatal(err)
	}
	result, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(result)
}

func TestTakesAwayWhatTheKernelRefuses(t *testing.T) {
	found := adapted(t, privileged, poor, "--root", "/run/x", "--log-format", "json", "create", "--bundle", "BUNDLE", "id")
	expected := `{"linux":{"large":18446744073709551615},"process":{"capabilities":{"bounding":["CAP_CHOWN"],"effective":[]},` +
		`"oomScoreAdj":0,"rlimits":[{"hard":20000,"soft":1024,"type":"RLIMIT_NOFILE"}]}}`
	if found != expected {
		t.Errorf("found    %s\nexpected %s", found, expected)
	}
}

func TestExecReadsAProcessFile(t *testing.T) {
	found := adapted(t, `{"capabilities":{"bounding":["CAP_SYS_RESOURCE"]}}`, poor, "exec", "--process=FILE", "id")
	if found != `{"capabilities":{"bounding":[]}}` {
		t.Errorf("found %s", found)
	}
}

func TestLeavesTheRestAlone(t *testing.T) {
	for name, found := range map[string]string{
		"another subcommand":  adapted(t, privileged, poor, "--root", "create", "delete", "--bundle", "BUNDLE"),
		"a capable machine":   adapted(t, privileged, allowance{everything: true}, "create", "--bundle", "BUNDLE"),
		"exec without a file": adapted(t, privileged, poor, "exec", "id", "ls"),
	} {
		if found != privileged {
			t.Errorf("%s: changed to %s", name, found)
		}
	}
}

func TestReadsTheBoundingSet(t *testing.T) {
	for status, expected := range map[string]bool{
		"CapEff:\t0\nCapBnd:\t000001fffeffffff\nCapAmb:\t0\n": false,
		"CapBnd:\t000001ffffffffff\n":                         true,
		"nothing":                                             false,
	} {
		if hasResourceCapability(status) != expected {
			t.Errorf("%q: expected %v", status, expected)
		}
	}
}
