package main

import (
	"bytes"
	"strings"
	"testing"
)

const (
	firstRun = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/x"}
{"Action":"output","Package":"p","Test":"TestA/x","Output":"fine\n"}
{"Action":"pass","Package":"p","Test":"TestA/x"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestKVM"}
{"Action":"skip","Package":"p","Test":"TestKVM"}
{"Action":"pass","Package":"p","Elapsed":1}
`
	secondRun = `{"Action":"run","Package":"p","Test":"TestKVM"}
{"Action":"run","Package":"p","Test":"TestKVM/y"}
{"Action":"pass","Package":"p","Test":"TestKVM/y"}
{"Action":"pass","Package":"p","Test":"TestKVM"}
{"Action":"pass","Package":"p","Elapsed":1}
`
	failingRun = `{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"what is wrong\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p","Elapsed":1}
`
	failingSubtest = `{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"run","Package":"p","Test":"TestC/x"}
{"Action":"fail","Package":"p","Test":"TestC/x"}
{"Action":"run","Package":"p","Test":"TestC/y"}
{"Action":"pass","Package":"p","Test":"TestC/y"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":1}
`
	crash = `{"Action":"run","Package":"p","Test":"TestD"}
{"Action":"pass","Package":"p","Test":"TestD"}
{"Action":"output","Package":"p","Output":"exit status 2\n"}
{"Action":"fail","Package":"p","Elapsed":1}
`
	brokenBuild = `{"ImportPath":"q","Action":"build-output","Output":"no such name\n"}
{"Action":"fail","Package":"q","Elapsed":0,"FailedBuild":"q"}
`
)

func TestTally(t *testing.T) {
	for _, test := range []struct {
		name  string
		runs  []string
		ok    bool
		shows string
		total string
	}{
		{"all pass", []string{firstRun, secondRun}, true, "ok   p: 1 passed, 1 left to other runs in 1.0 s\n", "2 passed, 0 failed\n"},
		{"skipped everywhere", []string{firstRun}, true, "", "failed: p.TestKVM was skipped everywhere\n1 passed, 1 failed\n"},
		{"failure", []string{firstRun, secondRun, failingRun}, false, "what is wrong\n", "failed: p.TestB\n2 passed, 1 failed\n"},
		{"failing subtest", []string{failingSubtest}, false, "FAIL p: 1 passed, 1 failed in 1.0 s\n", "failed: p.TestC/x\n1 passed, 1 failed\n"},
		{"crash", []string{crash}, false, "exit status 2\nFAIL p: 1 passed in 1.0 s\n", "failed: p\n1 passed, 1 failed\n"},
		{"no build", []string{brokenBuild}, false, "no such name\n", "failed: q\n0 passed, 1 failed\n"},
		{"no JSON", []string{"go: trouble\n" + secondRun}, true, "go: trouble\n", "1 passed, 0 failed\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tally, shown, total bytes.Buffer
			ok := true
			for _, run := range test.runs {
				good, err := follow(strings.NewReader(run), &shown, &tally, nil)
				if err != nil {
					t.Fatal(err)
				}
				ok = ok && good
			}
			if ok != test.ok {
				t.Errorf("the runs are good: %v", ok)
			}
			if !strings.Contains(shown.String(), test.shows) {
				t.Errorf("shown: %s", &shown)
			}
			allGood, err := sum(&tally, &total)
			if err != nil {
				t.Fatal(err)
			}
			if total.String() != test.total {
				t.Errorf("total: %s", &total)
			}
			if allGood != strings.HasSuffix(test.total, ", 0 failed\n") {
				t.Errorf("the total is good: %v", allGood)
			}
		})
	}
}

func TestRunAgain(t *testing.T) {
	const (
		hangs = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"run","Package":"p","Test":"TestB/x"}
{"Action":"pass","Package":"p","Test":"TestB/x"}
{"Action":"run","Package":"p","Test":"TestB/y"}
{"Action":"fail","Package":"p","Test":"TestB/y"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p","Elapsed":1}
`
		passes = `{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"run","Package":"p","Test":"TestB/x"}
{"Action":"pass","Package":"p","Test":"TestB/x"}
{"Action":"run","Package":"p","Test":"TestB/y"}
{"Action":"pass","Package":"p","Test":"TestB/y"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":1}
`
	)
	for _, test := range []struct {
		name   string
		runs   []string
		passed string
		total  string
	}{
		{"passes at once", []string{passes}, "TestB\n", "2 passed, 0 failed\n"},
		{"passes in the end", []string{hangs, passes}, "TestA\nTestB\n",
			"repeated: p.TestB/y failed, and passed when it was run again\n3 passed, 0 failed\n"},
		{"fails twice", []string{hangs, hangs}, "TestA\nTestA\n", "failed: p.TestB/y\n2 passed, 1 failed\n"},
		{"ends early", []string{crash, passes}, "TestD\nTestB\n",
			"repeated: p failed, and passed when it was run again\n3 passed, 0 failed\n"},
		{"ends early twice", []string{crash, crash}, "TestD\nTestD\n", "failed: p\n1 passed, 1 failed\n"},
		{"ends early, then a test fails", []string{crash, hangs}, "TestD\nTestA\n",
			"failed: p\nfailed: p.TestB/y\n3 passed, 2 failed\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tally, shown, passed, total bytes.Buffer
			for _, run := range test.runs {
				if _, err := follow(strings.NewReader(run), &shown, &tally, &passed); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := sum(&tally, &total); err != nil {
				t.Fatal(err)
			}
			if passed.String() != test.passed || total.String() != test.total {
				t.Errorf("passed: %s\ntotal: %s", &passed, &total)
			}
		})
	}
}
