// kubernetes-validate has the schemas of Kubernetes itself; those of the Prometheus operator are here.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { PodMonitor, PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { parse } from "yaml";

const FOLDER = new URL("../../../deploy/kubernetes/monitoring/", import.meta.url);

const RESOURCES = [
  {
    Kind: PodMonitor,
    file: "pod-monitor.yaml",
    damage: (it) => { it.spec.podMetricsEndpoints[0].port = 9100; },
  },
  {
    Kind: PodMonitor,
    file: "edge-pod-monitor.yaml",
    damage: (it) => { it.spec.selector.matchLabels = "edge"; },
  },
  {
    Kind: PodMonitor,
    file: "rabbitmq-pod-monitor.yaml",
    damage: (it) => { it.spec.podMetricsEndpoints[0].params.family = "queue_consumer_count"; },
  },
  {
    Kind: PrometheusRule,
    file: "prometheus-rule.yaml",
    damage: (it) => { delete it.spec.groups[0].rules[0].expr; },
  },
];

test("each resource of the kustomization is checked", async () => {
  const { resources } = parse(await readFile(new URL("kustomization.yaml", FOLDER), "utf8"));
  assert.deepEqual(resources, RESOURCES.map(({ file }) => file));
});

for (const { Kind, file, damage } of RESOURCES) {
  test(`${file} keeps to its schema, and would not with a mistake in it`, async () => {
    const resource = parse(await readFile(new URL(file, FOLDER), "utf8"));
    assert.equal(resource.kind, Kind.name);
    new Kind(structuredClone(resource)).validate();
    damage(resource);
    assert.throws(() => new Kind(resource).validate());
  });
}
