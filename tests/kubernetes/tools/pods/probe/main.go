// A program to have something in a pod: what a test wants to know of a cluster is asked from inside.
//
//	probe serve PORT      answers each request with the name of its pod
//	probe lookup NAME     the addresses of a name
//	probe get URL         the body of an answer
//	probe connect ADDRESS whether a port takes connections
//	probe burn            keeps one core busy
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const patience = 5 * time.Second

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: probe serve PORT | lookup NAME | get URL | connect ADDRESS | burn"))
	}
	// The first process of a pod ignores what it does not handle, and the pod would take its whole grace period to end.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	go func() { <-ended; os.Exit(0) }()
	fail(run(os.Args[1], strings.Join(os.Args[2:], " ")))
}

func run(command, argument string) error {
	switch command {
	case "serve":
		return serve(argument)
	case "lookup":
		return lookup(argument)
	case "get":
		return get(argument)
	case "connect":
		_, err := net.DialTimeout("tcp", argument, patience)
		return err
	case "burn":
		for {
		}
	}
	return fmt.Errorf("no command is called %q", command)
}

func serve(port string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(answer, name) })
	return http.ListenAndServe(":"+port, nil)
}

func lookup(name string) error {
	within, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	addresses, err := net.DefaultResolver.LookupHost(within, name)
	fmt.Println(strings.Join(addresses, " "))
	return err
}

func get(url string) error {
	client := http.Client{Timeout: patience}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", answer.Status)
	}
	return nil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}
