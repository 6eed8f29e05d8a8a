{{/* What `slipway cluster-init` is told. */}}
{{- define "slipway.init.settings" -}}
{{- $name := include "slipway.fullname" . -}}
common: { telemetry: { log: json, filter: {{ .Values.telemetry.filter | quote }} } }
name: {{ $name }}
namespace: {{ .Release.Namespace }}
workers_namespace: {{ include "slipway.workersNamespace" . }}
labels:
  app.kubernetes.io/name: {{ .Chart.Name }}
  app.kubernetes.io/instance: {{ .Release.Name }}
clients: {{ toJson .Values.natsClients }}
client_namespaces: {{ toJson .Values.clientNamespaces }}
broker:
  servers: {{ ternary (int .Values.nats.servers) 0 .Values.nats.enabled }}
  service: {{ $name }}-nats
  headless: {{ $name }}-nats-headless
  server: {{ $name }}-nats
  domain: {{ .Values.clusterDomain }}
  names: {{ toJson .Values.nats.tls.names }}
  tls: {{ .Values.nats.tls.enabled }}
  own_certificate: {{ empty .Values.nats.tls.existingSecret }}
  max_file_store: {{ .Values.nats.maxFileStore }}
authority:
  lifetime: {{ .Values.authority.lifetime }}
  settle: {{ .Values.authority.settle }}
  identity: {{ .Values.authority.identityLifetime }}
{{- end -}}

{{- define "slipway.init.toml" -}}
{{- include "slipway.toml" (dict "prefix" "" "map" (include "slipway.init.settings" . | fromYaml)) -}}
{{- end -}}

{{/* What `slipway topology` is told. */}}
{{- define "slipway.topology.settings" -}}
common: { telemetry: { log: json, filter: {{ .Values.telemetry.filter | quote }} } }
bus:
  url: {{ include "slipway.brokerUrl" . | quote }}
  nkey_seed_file: /etc/slipway/key/bootstrap.nk
  {{- if include "slipway.brokerCa" . }}
  ca_file: /etc/slipway/broker/ca.crt
  {{- end }}
topology:
  replicas: {{ include "slipway.copies" . }}
  namespaces: {{ include "slipway.natsNamespaces" . }}
{{- end -}}

{{/* The namespaces that have clients over NATS. */}}
{{- define "slipway.natsNamespaces" -}}
{{- $namespaces := list -}}
{{- range .Values.natsClients }}{{ $namespaces = append $namespaces (first (splitList "." .)) }}{{ end -}}
{{- $namespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{- define "slipway.topology.toml" -}}
{{- include "slipway.toml" (dict "prefix" "" "map" (include "slipway.topology.settings" . | fromYaml)) -}}
{{- end -}}

{{/* A pod that runs one of the two to its end. */}}
{{- define "slipway.task" -}}
{{- $root := .root -}}
{{- $name := include "slipway.fullname" $root -}}
{{- $defaults := $root.Values.defaults -}}
serviceAccountName: {{ $name }}-{{ .component }}
automountServiceAccountToken: {{ eq .component "init" }}
enableServiceLinks: false
restartPolicy: OnFailure
{{- include "slipway.pullSecrets" $root }}
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $defaults.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $defaults.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $defaults.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .component }}
    image: {{ include "slipway.image" (dict "root" $root "image" $root.Values.image) }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [{{ .command }}, --config, /etc/slipway/config/{{ .command }}.toml]
    resources:
      requests: { cpu: 20m, memory: 32Mi }
      limits: { memory: 128Mi }
    securityContext:
      {{- include "slipway.containerSecurity" $root | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - { name: config, mountPath: /etc/slipway/config, readOnly: true }
      {{- if eq .component "topology" }}
      - { name: key, mountPath: /etc/slipway/key, readOnly: true }
      {{- if include "slipway.brokerCa" $root }}
      - { name: broker, mountPath: /etc/slipway/broker, readOnly: true }
      {{- end }}
      {{- end }}
volumes:
  - name: config
    configMap: { name: {{ $name }}-{{ .component }} }
  {{- if eq .component "topology" }}
  - name: key
    secret: { secretName: {{ $name }}-key-bootstrap, defaultMode: 0440 }
  {{- with include "slipway.brokerCa" $root }}
  - name: broker
    configMap: { name: {{ . }} }
  {{- end }}
  {{- end }}
{{- end -}}
