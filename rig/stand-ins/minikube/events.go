package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

// jsonEvents is set once the arguments are known: with `-o json` events go to standard output, else lines for people.
var jsonEvents bool

const totalSteps = 19

// event is a CloudEvent with the fields in minikube's order.
type event struct {
	SpecVersion     string            `json:"specversion"`
	ID              string            `json:"id"`
	Source          string            `json:"source"`
	Type            string            `json:"type"`
	DataContentType string            `json:"datacontenttype"`
	Data            map[string]string `json:"data"`
}

// emit prints one event; kind is step, info, warning or error.
func emit(kind string, data map[string]string) {
	if !jsonEvents {
		fmt.Println(data["message"])
		return
	}
	line, err := json.Marshal(event{
		SpecVersion: "1.0", ID: randomID(), Source: "https://minikube.sigs.k8s.io/",
		Type: "io.k8s.sigs.minikube." + kind, DataContentType: "application/json", Data: data,
	})
	if err != nil {
		panic(err) // a map of strings always encodes
	}
	os.Stdout.Write(append(line, '\n'))
}

func step(number int, name, format string, values ...any) {
	emit("step", map[string]string{
		"currentstep": strconv.Itoa(number), "totalsteps": strconv.Itoa(totalSteps),
		"name": name, "message": fmt.Sprintf(format, values...),
	})
}

func info(format string, values ...any)    { message("info", format, values...) }
func warning(format string, values ...any) { message("warning", format, values...) }
func problem(format string, values ...any) { message("error", format, values...) }

func message(kind, format string, values ...any) {
	emit(kind, map[string]string{"message": fmt.Sprintf(format, values...)})
}

// randomID is a UUID of version 4.
func randomID() string {
	var bytes [16]byte
	if _, err := rand.Read(bytes[:]); err != nil {
		panic(err) // the kernel always has random bytes
	}
	bytes[6] = bytes[6]&0x0f | 0x40
	bytes[8] = bytes[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", bytes[:4], bytes[4:6], bytes[6:8], bytes[8:10], bytes[10:])
}
