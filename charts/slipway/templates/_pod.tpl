{{/*
A service with what holds for all of them laid below its own values.
Lists are taken whole: what a service names stands for itself.
*/}}
{{- define "slipway.service" -}}
{{- $own := get .root.Values.services .component | default dict -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy $own)) -}}
{{- end -}}

{{/* How many messages wait for a service: stream and consumers, as `bus/topology` names them. */}}
{{- define "slipway.lag" -}}
controller: [LIFECYCLE/controller, INTAKE/gate]
ingress: [INBOUND/ingress]
sink-writer: [RESULTS/sink-writer, CAPTURES/sink-writer]
provisioner: [LIFECYCLE/provisioner]
platform-selector: [LIFECYCLE/platform-selector]
observability: [LIFECYCLE/observability]
security: [LIFECYCLE/security]
validator: [LIFECYCLE/validator]
{{- end -}}

{{/* Which services ask the API server. All others have no token. */}}
{{- define "slipway.asksApi" -}}
{{- if has .component (list "controller" "provisioner") -}}yes{{- end -}}
{{- if and (eq .component "ingress") (include "slipway.isRouted" .root) -}}yes{{- end -}}
{{- if and (eq .component "observability") (include "slipway.isShown" .root) -}}yes{{- end -}}
{{- end -}}

{{/* Which services are told of keys of others by `slipway cluster-init`. */}}
{{- define "slipway.hasIdentities" -}}
{{- if has .component (list "controller" "ingress") -}}yes{{- end -}}
{{- end -}}

{{/* The pod of a service. */}}
{{- define "slipway.pod" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $service := .service -}}
{{- $name := include "slipway.fullname" $root -}}
serviceAccountName: {{ $name }}-{{ $component }}
automountServiceAccountToken: {{ eq (include "slipway.asksApi" .) "yes" }}
enableServiceLinks: false
{{- include "slipway.pullSecrets" $root }}
terminationGracePeriodSeconds: {{ $service.terminationGracePeriodSeconds }}
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $service.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $service.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $service.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $service.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $service.topologySpread }}
topologySpreadConstraints:
  {{- include "slipway.topologySpread" (dict "root" $root "component" $component "topologySpread" $service.topologySpread) | nindent 2 }}
{{- end }}
containers:
  - name: {{ $component }}
    image: {{ include "slipway.image" (dict "root" $root "image" $root.Values.image) }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args:
      - service
      - {{ $component }}
      - --config
      - /etc/slipway/config/service.toml
      {{- if include "slipway.hasIdentities" . }}
      - --config
      - /etc/slipway/identities/{{ $component }}.toml
      {{- end }}
      {{- if $service.config }}
      - --config
      - /etc/slipway/config/own.toml
      {{- end }}
    {{- $env := $service.env }}
    {{- if and (eq $component "sink-writer") $root.Values.postgresql.secretName }}
    {{- $reference := dict "name" $root.Values.postgresql.secretName "key" $root.Values.postgresql.secretKey }}
    {{- $env = prepend $env (dict "name" "DATABASE_URL" "valueFrom" (dict "secretKeyRef" $reference)) }}
    {{- end }}
    {{- with $env }}
    env:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $service.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - { name: admin, containerPort: 9464 }
      {{- if eq $component "ingress" }}
      - { name: http, containerPort: 8080 }
      {{- end }}
    startupProbe:
      httpGet: { path: /livez, port: admin }
      periodSeconds: 1
      failureThreshold: 60
    readinessProbe:
      httpGet: { path: /readyz, port: admin }
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: 2
    # Half a minute: who is only slow is not killed for it.
    livenessProbe:
      httpGet: { path: /livez, port: admin }
      periodSeconds: 5
      timeoutSeconds: 2
      failureThreshold: 6
    resources:
      {{- toYaml $service.resources | nindent 6 }}
    securityContext:
      {{- include "slipway.containerSecurity" $root | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - { name: config, mountPath: /etc/slipway/config, readOnly: true }
      - { name: key, mountPath: /etc/slipway/key, readOnly: true }
      - { name: data, mountPath: /var/lib/slipway }
      {{- if include "slipway.brokerCa" $root }}
      - { name: broker, mountPath: /etc/slipway/broker, readOnly: true }
      {{- end }}
      {{- if include "slipway.hasIdentities" . }}
      - { name: identities, mountPath: /etc/slipway/identities, readOnly: true }
      {{- end }}
      {{- if eq $component "security" }}
      - { name: authority, mountPath: /etc/slipway/authority, readOnly: true }
      {{- end }}
      {{- with $service.volumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap: { name: {{ $name }}-{{ $component }} }
  - name: key
    secret: { secretName: {{ $name }}-key-{{ $component }}, defaultMode: 0440 }
  - name: data
    {{- if and (eq $component "sink-writer") $service.persistence.enabled }}
    persistentVolumeClaim: { claimName: {{ $name }}-{{ $component }} }
    {{- else }}
    emptyDir: { sizeLimit: {{ $service.data.sizeLimit }} }
    {{- end }}
  {{- with include "slipway.brokerCa" $root }}
  - name: broker
    configMap: { name: {{ . }} }
  {{- end }}
  {{- if include "slipway.hasIdentities" . }}
  - name: identities
    configMap: { name: {{ $name }}-identities }
  {{- end }}
  {{- if eq $component "security" }}
  - name: authority
    secret: { secretName: {{ $name }}-authority, defaultMode: 0440 }
  {{- end }}
  {{- with $service.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
