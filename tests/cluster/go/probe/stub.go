package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What tests/contract/backends/stub.py does, as far as a pod can, with the same variables STUB and ANSWERS, and
// `eat` besides. Its facts also say what the kernel keeps it to, and whether it is `alone` with what it leaves.
func stub(words []string, told chan os.Signal) {
	mode, number, _ := strings.Cut(os.Getenv("STUB"), " ")
	say(facts())
	switch mode {
	case "exit":
		os.Exit(atoi(number))
	case "kill":
		kill(number)
	case "eat":
		eat()
	}
	if mode != "stubborn" {
		go func() {
			<-told
			os.Exit(128 + int(syscall.SIGTERM))
		}()
	}
	if len(words) > 0 {
		panic(http.ListenAndServe(":"+words[0], http.HandlerFunc(answer)))
	}
	for {
		time.Sleep(time.Hour)
	}
}

func facts() map[string]any {
	own := make([]byte, 8)
	if _, err := rand.Read(own); err != nil {
		panic(err)
	}
	found := map[string]any{
		"pid":       os.Getpid(),
		"own":       hex.EncodeToString(own),
		"ignored":   ignored(),
		"memory_mb": limit("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes") / (1 << 20),
		"cores":     cores(),
	}
	if left := os.Getenv("LEAVES"); left != "" {
		file, err := os.OpenFile(left, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		found["alone"] = err == nil
		if err == nil {
			file.Close()
		} else if !os.IsExist(err) {
			panic(err)
		}
	}
	return found
}

// The signals that it was started to ignore. What is caught now is none of them.
func ignored() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:")
	mask, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	if err != nil {
		panic(err)
	}
	return mask
}

func cores() float64 {
	if both, err := os.ReadFile("/sys/fs/cgroup/cpu.max"); err == nil { // "QUOTA PERIOD", with version 2
		words := strings.Fields(string(both))
		return float64(atoi(words[0])) / float64(atoi(words[1]))
	}
	return float64(limit("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")) / float64(limit("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
}

// The number in the first of these files that is there.
func limit(files ...string) int {
	for _, file := range files {
		if said, err := os.ReadFile(file); err == nil {
			return atoi(strings.TrimSpace(string(said)))
		}
	}
	panic(fmt.Sprint("none of ", files))
}

// Process 1 of a pod cannot be killed from inside: so a child is, and this says so as an init does.
func kill(number string) {
	done := exec.Command("/proc/self/exe", "die", number).Run().(*exec.ExitError)
	os.Exit(128 + int(done.Sys().(syscall.WaitStatus).Signal()))
}

func answer(out http.ResponseWriter, asked *http.Request) {
	at := strings.LastIndex(asked.URL.Path, "/dure/")
	if at < 0 {
		fmt.Fprint(out, "ready")
		return
	}
	body, err := io.ReadAll(asked.Body)
	if err != nil {
		panic(err)
	}
	say(map[string]any{
		"asked":         asked.Method + " " + asked.URL.Path,
		"authorization": asked.Header.Get("Authorization"),
		"body":          string(body),
	})
	answers := map[string]*[2]json.RawMessage{}
	if said := os.Getenv("ANSWERS"); said != "" {
		if err := json.Unmarshal([]byte(said), &answers); err != nil {
			panic(err)
		}
	}
	one, known := answers[asked.URL.Path[at+len("/dure/"):]]
	if !known {
		out.WriteHeader(http.StatusNotFound)
		return
	}
	if one == nil {
		select {} // whoever asks has given up long before
	}
	var status int
	var pieces [][2]any
	if json.Unmarshal(one[0], &status) != nil || json.Unmarshal(one[1], &pieces) != nil {
		panic(one)
	}
	out.WriteHeader(status)
	for _, piece := range pieces {
		fmt.Fprint(out, strings.Repeat(piece[0].(string), int(piece[1].(float64))))
	}
}

func say(what map[string]any) {
	if err := json.NewEncoder(os.Stdout).Encode(what); err != nil {
		panic(err)
	}
}

func atoi(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return number
}
